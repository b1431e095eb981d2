"""A power cut of a nats-server, simulated: what its disk would still hold.

The server writes messages into block files and has the kernel sync them every `sync_interval`; a power cut takes what
was written since. Its files of consumers' states are small, renamed into place and never synced by itself, so that
they may well be newer than the blocks: the worst that a disk can do, and what is done here. All processes are killed
at once, then each block file is cut back to the size that it had one sync interval before, with some slack, and files
that are younger than that are removed. Everything that the object store and the catalog have written is synced by
them, and stays.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

UNSYNCED = 1.1
"""Seconds of writing that are lost: the `sync_interval` that `lode up` configures, and some slack."""
LOOK_EVERY = 0.05

Sizes = dict[Path, int]


class Disk:
    """Remembers how large the block files of a server have been."""

    def __init__(self, store: Path):
        self._store = store
        self._seen: deque[tuple[float, Sizes]] = deque()
        self._synced: Sizes = {}

    def look(self) -> None:
        """Note the sizes as they are now; older looks than are needed are forgotten."""
        now = time.monotonic()
        self._seen.append((now, self._sizes()))
        while len(self._seen) > 1 and self._seen[1][0] < now - UNSYNCED:
            self._seen.popleft()

    def unsynced(self) -> int:
        """Bytes that a power cut would take at this moment."""
        before = self._seen[0][1]
        return sum(max(0, size - before.get(path, 0)) for path, size in self._sizes().items())

    def fail(self) -> None:
        """The power goes at this moment: what is synced now is what stays, however long it takes to kill the server."""
        self._synced = self._seen[0][1]

    def cut(self) -> int:
        """Take away what was not synced then, from a server that is dead; how many bytes that was."""
        before, lost = self._synced, 0
        for path, size in self._sizes().items():
            kept = min(size, before.get(path, 0))
            lost += size - kept
            if kept:
                with path.open("r+b") as file:
                    file.truncate(kept)
            else:
                path.unlink()
        return lost

    def _sizes(self) -> Sizes:
        sizes = {}
        for path in self._store.glob("jetstream/*/streams/*/msgs/*.blk"):
            with contextlib.suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
        return sizes


@asynccontextmanager
async def watched(store: Path) -> AsyncIterator[Disk]:
    """A server's disk, looked at until the block ends."""
    disk = Disk(store)

    async def watch() -> None:
        while True:
            disk.look()
            await asyncio.sleep(LOOK_EVERY)

    watching = asyncio.create_task(watch())
    try:
        yield disk
    finally:
        watching.cancel()
