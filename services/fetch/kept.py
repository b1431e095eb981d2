"""What came of downloads that broke off, kept for their next attempt: of whichever worker on this machine makes it.

A worker that is killed keeps nothing, so a file has a second name here from its first megabyte on.
"""

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog
from msgspec.structs import replace

log = structlog.get_logger()

FOLDER = "kept"
"""Beside the folders of the workers, which are swept when they start."""
LEAST = 1 << 20
"""Bytes that are worth keeping."""
MOST = 4 << 30
"""Bytes that are kept in all; the oldest go first."""
LONGEST_S = 2 * 3600.0
"""An attempt comes an hour after the last one at most."""
EVERY_S = 600.0
"""From one look for old ones to the next."""
CHUNK = 1 << 20


class Facts(msgspec.Struct, frozen=True):
    """What the rest is asked for with."""

    url: str
    validator: str
    """Strong ETag or Last-Modified."""
    total: int | None
    boot: str = ""
    """Of a file that may not have come to disk: the start of this machine for which it stands all the same."""


class Beginning(NamedTuple):
    """The first bytes of a file, and what is known of it."""

    facts: Facts
    size: int
    hash: "hashlib._Hash"


class Kept:
    """Beginnings, each a folder of its own that is moved as a whole: nobody ever sees one that is half another's."""

    def __init__(self, work: Path):
        """`work` is a worker's own folder."""
        self._work, self._folder = work, work.parent / FOLDER

    def has(self, media_id: str) -> bool:
        """Whether anything is kept of a video."""
        return (self._folder / media_id).exists()

    def take(self, media_id: str, url: str, path: Path) -> Beginning | None:
        """Move what is kept of the file to `path`; None where nothing is, or it is of another URL or start.

        Copied where it has its other name still: whoever was taken for dead may go on writing.
        """
        mine = self._work / f"taken-{path.name}"
        try:
            (self._folder / media_id).rename(mine)
            facts = msgspec.json.decode((mine / "facts.json").read_bytes(), type=Facts)
            if facts.url != url or facts.boot not in ("", boot()):
                return None
            if (mine / "data").stat().st_nlink > 1:
                shutil.copyfile(mine / "data", path)
            else:
                (mine / "data").rename(path)
            return Beginning(facts, path.stat().st_size, _hashed(path))
        except (OSError, msgspec.MsgspecError):
            return None
        finally:
            shutil.rmtree(mine, ignore_errors=True)

    def begin(self, media_id: str, facts: Facts, path: Path) -> None:
        """Have a file that is being written here as well, for whoever comes after a kill."""
        if boot():
            self._put(media_id, replace(facts, boot=boot()), lambda mine: mine.hardlink_to(path))

    def keep(self, media_id: str, facts: Facts, path: Path) -> None:
        """Move an unfinished file here, safe on disk, if it is worth that."""
        if path.stat().st_size < LEAST:
            return

        def move(mine: Path) -> None:
            path.rename(mine)
            _sync(mine)

        self._put(media_id, facts, move)
        self.sweep()

    def forget(self, media_id: str) -> None:
        """It is not wanted any more."""
        if self.has(media_id):
            shutil.rmtree(self._folder / media_id, ignore_errors=True)

    def _put(self, media_id: str, facts: Facts, data: Callable[[Path], None]) -> None:
        mine = self._work / f"kept-{media_id}"
        try:
            mine.mkdir()
            data(mine / "data")
            (mine / "facts.json").write_bytes(msgspec.json.encode(facts))
            self._folder.mkdir(exist_ok=True)
            shutil.rmtree(self._folder / media_id, ignore_errors=True)
            mine.rename(self._folder / media_id)
        except OSError as error:
            log.warning("what came is not kept", media=media_id, why=error.strerror)
        finally:
            shutil.rmtree(mine, ignore_errors=True)

    def sweep(self, most: int | None = None) -> None:
        """Remove what is old, and the oldest of what is more than `most` bytes in all (None: MOST)."""
        left, limit = MOST if most is None else most, time.time() - LONGEST_S
        for when, folder, size in sorted(_found(self._folder), reverse=True):
            left -= size
            if left < 0 or when < limit:
                shutil.rmtree(folder, ignore_errors=True)


async def sweeping(kept: Kept) -> None:
    """Sweep now and then; runs until cancelled."""
    while True:
        await asyncio.to_thread(kept.sweep)
        await asyncio.sleep(EVERY_S)


@cache
def boot() -> str:
    """Names this start of the machine; empty where it does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _found(folder: Path) -> list[tuple[float, Path, int]]:
    """When each was kept, where it is, and its bytes."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            facts = (path / "data").stat()
        except OSError:  # taken meanwhile
            continue
        found.append((facts.st_mtime, path, facts.st_size))
    return found


def _hashed(path: Path) -> "hashlib._Hash":
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest


def _sync(path: Path) -> None:
    """Have it on disk before it has its name: a power cut must not leave other bytes in its place."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
