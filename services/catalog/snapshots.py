"""Copies of the database, seconds old, made while it is written to."""

import asyncio
import contextlib
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from lodestream.errors import LodeError
from services.catalog.ingest import Ingest
from services.catalog.store import Store

FRESH = 2.0
"""Seconds that a copy may be old when somebody asks."""
REST = 10.0
"""A copy is kept at least this many times as long as it took to make."""
TRIES, PAUSE = 20, 0.25
"""Readers in the way are waited for: how often, and for how many seconds each time."""


class Copy(NamedTuple):
    """One copy, and what it shows."""

    file: Path
    shows: object
    made: float
    took: float
    """seconds"""


class Snapshots:
    """The latest copy, made anew when it is asked for and behind."""

    def __init__(self, ingest: Ingest, store: Store):
        self._ingest, self._store = ingest, store
        self._folder = store.file.parent / "snapshots"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock, self._made = asyncio.Lock(), 0
        self._last: Copy | None = None

    async def fresh(self, age: float = FRESH) -> Path:
        """A copy of the tables as they were at most `age` seconds ago, or a little more where copying takes long.

        Raises LodeError where none can be made.
        """
        async with self._lock:
            last, shows = self._last, (self._store.marks, self._store.flows)
            if last and (
                last.shows == shows or time.monotonic() - last.made < max(age, REST * last.took if age else 0)
            ):
                return last.file
            self._last = await self._copy(shows)
            for old in self._folder.glob("*"):
                if old not in (self._last.file, last and last.file):
                    old.unlink(missing_ok=True)
            return self._last.file

    async def _copy(self, shows: object) -> Copy:
        """Work the log into the file, then copy the file: what is written meanwhile goes into the log alone.

        Another process copies: closing any descriptor of the file in this one would drop DuckDB's lock on it.
        """
        started = time.monotonic()
        self._made += 1
        self._folder.mkdir(exist_ok=True)
        file = self._folder / f"{self._made}-{time.time_ns()}.duckdb"
        self._store.hold_log = True
        try:
            await self._checkpoint()
            await _run("cp", "--reflink=auto", str(self._store.file), str(file))
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        finally:
            self._store.hold_log = False
        return Copy(file, shows, time.monotonic(), time.monotonic() - started)

    async def _checkpoint(self) -> None:
        for _ in range(TRIES):
            if await self._ingest.write(self._store.checkpoint):
                return
            await asyncio.sleep(PAUSE)
        raise LodeError("no snapshot can be made while a long query runs; ask again in a few seconds")


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    if process.returncode:
        raise LodeError(f"cannot copy the catalog: {said.decode(errors='replace').strip()}")
