"""Fakes and duplicates among the media files below a folder. Nothing is changed.

Of files with the same bytes one is kept: the one with further names (hard links), else the oldest, else the one with
the shortest path, else the first by name.
"""

import hashlib
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lodestream.fakes.library import Library
from lodestream.fakes.walk import File, Found, first_doubt, head, open_plain, walk

CHUNK = 1 << 20
SHARE = 64
"""Files that a thread takes at once."""
THREADS = min(8, (os.cpu_count() or 1) + 1)


@dataclass(frozen=True)
class Fake:
    """A file that is no video or picture."""

    file: File
    sha256: str
    why: str


@dataclass(frozen=True)
class Group:
    """Files with the same bytes; the first is the one to keep."""

    sha256: str
    files: tuple[File, ...]

    @property
    def wasted(self) -> int:
        """Bytes to be saved."""
        return sum(file.size for file in self.files[1:])


@dataclass(frozen=True)
class Report:
    """What a scan found."""

    found: Found
    fakes: list[Fake]
    groups: list[Group]

    @property
    def wasted(self) -> int:
        """Bytes to be saved, of duplicates."""
        return sum(group.wasted for group in self.groups)


Progress = Callable[[int, int], None]
"""Told how many bytes are hashed, and how many will be."""


class Stopped(Exception):
    """Somebody no longer wants to know."""


class Scanner:
    """Looks at files in threads."""

    def __init__(self, library: Library, progress: Progress = lambda done, total: None):
        self._library, self._progress = library, progress
        self._stop, self._lock, self._done, self._total = threading.Event(), threading.Lock(), 0, 0

    def scan(self, root: Path) -> Report:
        """Everything below `root`. Files that cannot be read are listed, and hold up nothing."""
        found = walk(root)
        with ThreadPoolExecutor(THREADS, "scan") as pool:
            try:
                doubts = dict(zip(found.files, self._each(pool, found, found.files, self._doubt, SHARE), strict=True))
                wanted = self._wanted(found.files, doubts)
                self._total = sum(file.size for file in wanted)
                hashes = dict(zip(wanted, self._each(pool, found, wanted, self._hash, 1), strict=True))
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        found.files = [file for file in found.files if doubts[file] is not None and hashes.get(file, "") is not None]
        return self._judge(found, doubts, hashes)

    def _each(
        self, pool: ThreadPoolExecutor, found: Found, files: list[File], look: Callable[[File], str], share: int
    ) -> Iterator[str | None]:
        """What `look` says of each file, `share` of them at once; None where it cannot be read."""

        def some(files: list[File]) -> list[str | OSError]:
            return [_or_error(look, file) for file in files]

        parts = [files[n : n + share] for n in range(0, len(files), share)]
        for file, said in zip(files, chain.from_iterable(pool.map(some, parts)), strict=True):
            if isinstance(said, OSError):
                found.unreadable.append((file.path, said.strerror or str(said)))
            yield None if isinstance(said, OSError) else said

    def _doubt(self, file: File) -> str:
        return first_doubt(file.claims, head(file.path)) if file.size else ""

    def _wanted(self, files: list[File], doubts: dict[File, str | None]) -> list[File]:
        """Those that must be read whole: of a size that others have, or a fake; the largest first."""
        known, sizes = self._library.sizes(), Counter(file.size for file in files)
        wanted = (f for f in files if known is None or f.size in known or sizes[f.size] > 1 or doubts[f])
        return sorted((f for f in wanted if doubts[f] is not None), key=lambda file: -file.size)

    def _hash(self, file: File) -> str:
        return digest(file, self._heard)

    def _heard(self, count: int) -> None:
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)

    def _judge(self, found: Found, doubts: dict[File, str | None], hashes: dict[File, str | None]) -> Report:
        fakes, same = list[Fake](), defaultdict[str, list[File]](list)
        for file in found.files:
            if (sha256 := hashes.get(file)) is None:
                continue
            known = self._library.content(sha256, file.size)
            why = f"known: {known.note or known}" if known else "" if self._library.fine(sha256) else doubts[file]
            if why:
                fakes.append(Fake(file, sha256, why))
            else:
                same[sha256].append(file)
        groups = [Group(sha, tuple(sorted(files, key=File.age))) for sha, files in same.items() if len(files) > 1]
        return Report(found, fakes, sorted(groups, key=lambda group: (-group.wasted, group.files[0].path)))


def _or_error(look: Callable[[File], str], file: File) -> str | OSError:
    try:
        return look(file)
    except OSError as error:
        return error


def digest(file: File, heard: Callable[[int], None] = lambda count: None) -> str:
    """SHA-256 of a file in hex. Raises OSError, also where it is no longer what it was."""
    fd = open_plain(file.path)
    try:
        said, sha256 = os.fstat(fd), hashlib.sha256()
        if (said.st_size, said.st_mtime_ns) != (file.size, file.mtime_ns):
            raise OSError(0, "it changed meanwhile")
        while data := os.read(fd, CHUNK):
            sha256.update(data)
            heard(len(data))
        return sha256.hexdigest()
    finally:
        os.close(fd)
