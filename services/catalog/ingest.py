"""Keeps the tables behind the streams: finds the streams, feeds from each, writes in batches."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import duckdb
import nats.errors
import structlog
from nats.js.errors import NotFoundError

from lodestream.bus import Bus
from lodestream.catalog.query import first_line
from lodestream.flow.model import Deployed
from lodestream.flows import watch_flows
from proto import subjects
from services.catalog import streams
from services.catalog.feed import Feed, Received, within
from services.catalog.limits import BROKEN, give_up
from services.catalog.project import Record
from services.catalog.store import Mark, Store

log = structlog.get_logger()
T = TypeVar("T")

BATCH = 256
"""Messages that are written at once without waiting for more: each commit logs lists of some thousand rows again."""
GATHER = 0.25
"""Seconds that a message waits for others to be written with."""
LOOK_AGAIN = 15.0
"""Seconds between looks for streams where no hint comes."""
PAUSES = (0.25, 1.0, 2.0, 5.0, 10.0)
"""Seconds between tries while the server is away, or disk or memory are short."""


class Ingest:
    """Everything that writes to the tables, in one thread."""

    def __init__(self, bus: Bus, store: Store):
        self._bus, self._store = bus, store
        self._writer = ThreadPoolExecutor(1, "writer")
        self._feeds: dict[str, asyncio.Task[None]] = {}
        self._inbox: list[Received] = []
        self._some, self._enough, self._look = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._finding = asyncio.Lock()
        self.trouble = ""
        """Why nothing is written at the moment, in words."""

    async def run(self) -> None:
        """Ingest until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch_flows(self._bus, self._set_flows))
            tasks.create_task(self._find_streams(tasks))
            tasks.create_task(self._write_batches())

    async def write(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something with the store in the writer's thread; persists while disk or memory are short.

        Ends the process where the database is dead, as after a disk that was full in a checkpoint.
        """
        turn = 0
        while True:
            try:
                result = await asyncio.get_running_loop().run_in_executor(self._writer, work, *arguments)
            except BROKEN as error:
                give_up(first_line(error))
            except (duckdb.Error, MemoryError) as error:
                self._say(first_line(error))
                await asyncio.sleep(PAUSES[min(turn, len(PAUSES) - 1)])
                turn += 1
            else:
                self._say("")
                return result

    async def rebuild(self) -> None:
        """Drop every table and read the streams again from their beginning."""
        async with self._finding:
            feeds, self._feeds = list(self._feeds.values()), {}
            for feed in feeds:
                feed.cancel()
            await asyncio.gather(*feeds, return_exceptions=True)
            await self.write(self._store.empty)
            await self.write(self._store.set_flows, self._store.flows)
        self._look.set()

    async def _set_flows(self, flows: dict[str, Deployed]) -> None:
        if flows != self._store.flows:
            await self.write(self._store.set_flows, flows)
        self._look.set()

    async def _find_streams(self, tasks: asyncio.TaskGroup) -> None:
        """Follow every stream that there is; a deployed flow is the hint that there may be another."""
        while True:
            self._look.clear()
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                async with self._finding:
                    await self._follow_all(tasks)
            await within(LOOK_AGAIN, self._look)

    async def _follow_all(self, tasks: asyncio.TaskGroup) -> None:
        for stream in {subjects.DEAD, *self._store.marks, *await streams.flow_streams(self._bus)}:
            if stream not in self._feeds or self._feeds[stream].done():
                self._feeds[stream] = tasks.create_task(self._follow(stream))

    async def _follow(self, stream: str) -> None:
        """Feed from one stream until it is no more."""
        turn = 0
        while True:
            try:
                await Feed(self._bus, stream, await self._place(stream), self._take).run()
                turn = 0
            except NotFoundError:
                await self.write(self._store.forget, stream)
                return
            except (nats.errors.Error, TimeoutError) as error:
                log.debug("feed waits", stream=stream, why=str(error))
                turn = min(turn + 1, len(PAUSES) - 1)
            finally:
                self._inbox = [received for received in self._inbox if received.record.stream != stream]
            await asyncio.sleep(PAUSES[turn])

    async def _place(self, stream: str) -> int:
        """The sequence behind which to read: the watermark, or the beginning of a stream that was made or cut anew."""
        now = await streams.standing(self._bus, stream)
        mark = await self.write(self._store.marks.get, stream)
        if mark and mark.created == now.created and mark.seq <= now.last and await self._is_same(stream, mark):
            return mark.seq
        await self.write(self._store.begin, stream, now.created)
        return 0

    async def _is_same(self, stream: str, mark: Mark) -> bool:
        """Whether the stream's message at the watermark is the one that was read; a server may lose its last ones."""
        at = await streams.stored_at(self._bus, stream, mark.seq) if mark.seq else None
        return at is None or mark.at is None or abs(at - mark.at) < 1000

    def _take(self, received: Received) -> None:
        self._inbox.append(received)
        self._some.set()
        if len(self._inbox) >= BATCH:
            self._enough.set()

    async def _write_batches(self) -> None:
        while True:
            await self._some.wait()
            await within(GATHER, self._enough)
            self._some.clear()
            self._enough.clear()
            batch, self._inbox = self._inbox, []
            await self.write(self._write, [received.record for received in batch])
            counts = Counter(received.feed for received in batch)
            for feed, last in {received.feed: received for received in batch}.items():
                await feed.done(counts[feed], last)

    def _write(self, records: list[Record]) -> None:
        self._store.apply(records)
        self._store.tidy()

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            log.error("cannot write", why=trouble) if trouble else log.info("writing goes on")
