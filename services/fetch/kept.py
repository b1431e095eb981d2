"""What came of downloads that broke off, kept for their next attempt: of whichever worker on this machine makes it."""

import asyncio
import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

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
        """Move what is kept of the file to `path`; None where nothing is, or it is of another URL."""
        mine = self._work / f"taken-{path.name}"
        try:
            (self._folder / media_id).rename(mine)
            facts = msgspec.json.decode((mine / "facts.json").read_bytes(), type=Facts)
            if facts.url != url:
                return None
            (mine / "data").rename(path)
            return Beginning(facts, path.stat().st_size, _hashed(path))
        except (OSError, msgspec.MsgspecError):
            return None
        finally:
            shutil.rmtree(mine, ignore_errors=True)

    def keep(self, media_id: str, facts: Facts, path: Path) -> None:
        """Move an unfinished file here, safe on disk, if it is worth that."""
        if path.stat().st_size < LEAST:
            return
        mine = self._work / f"kept-{path.name}"
        try:
            mine.mkdir()
            path.rename(mine / "data")
            (mine / "facts.json").write_bytes(msgspec.json.encode(facts))
            _sync(mine / "data")
            self._folder.mkdir(exist_ok=True)
            shutil.rmtree(self._folder / media_id, ignore_errors=True)
            mine.rename(self._folder / media_id)
            self.sweep()
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
