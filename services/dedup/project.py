"""One project, which is one node of one flow: its ledger, who owns it, and the shards that wait for a verdict.

The order is: kept vectors and verdicts in one object, memory, and only then what follows from them. A shard that has a
verdict is never judged again, but for frames whose keeper was forgotten.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Collection
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from lodestream.errors import Outage, Postpone
from lodestream.job import Parts
from lodestream.ledger.log import Log, Overtaken, Range
from lodestream.ledger.pack import Pack, Verdict, unpacked
from proto import keys
from services.dedup.hashes import Hashes
from services.dedup.memory import Ask, Memory
from services.dedup.sketches import Sketches
from services.dedup.vectors import ROWS, Vectors

LEASE = "dedup"
BLOCK = 1024
"""Frames of shards that are judged together: what waits is cheaper to ask for at once."""
ENTRIES = 1024
"""Entries that are put into one segment, if their rows do not fill one sooner."""
PATIENCE, LATER = 60.0, 30.0
"""Seconds that a shard waits for another worker to let go of the project, and those after which it comes again."""
IDLE = 1.0
"""Seconds without work after which the project is let go."""


@dataclass(frozen=True)
class Form:
    """What makes a ledger another one."""

    flow: str
    node: str
    recipe: str
    """Of the node's own settings."""
    bits: int | None
    """Of hashes; None where there are none."""
    threshold: float
    dim: int
    """Of vectors; 0 where there are none."""

    @property
    def prefix(self) -> str:
        """Begins the ledger's keys."""
        return keys.ledger(self.flow, self.node, self.recipe)


@dataclass
class Waiting:
    """A shard that wants a verdict."""

    ask: Ask
    kin: frozenset[str]
    answer: "asyncio.Future[Verdict]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Project:
    """One project in one worker; several may have it, and one at a time works on it."""

    def __init__(self, form: Form, parts: Parts, pool: Executor):
        """`pool` has the threads that search."""
        self._form, self._parts, self._pool = form, parts, pool
        self._log = Log(parts.objects, form.prefix)
        self._sketches = Sketches(parts.objects, form.prefix)
        self._memory: Memory | None = None
        self._segments: list[tuple[Range, Pack]] = []
        self._seen: frozenset[str] = frozenset()
        """What was forgotten when it was last looked."""
        self._queue: deque[Waiting] = deque()
        self._more = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    async def judge(self, ask: Ask, kin: Collection[str]) -> Verdict:
        """The verdict on a shard: the recorded one, or a new one once it is recorded. Raises Outage and Postpone.

        `kin` are the recipes whose frames count. Shards are judged in the order of these calls; if one fails, those
        that wait behind it fail too.
        """
        waiting = Waiting(ask, frozenset(kin))
        self._queue.append(waiting)
        self._more.set()
        if not self.at_work:
            self._working = asyncio.create_task(self._work())
        return await waiting.answer

    @property
    def at_work(self) -> bool:
        """Whether any shard waits for a verdict, or did a moment ago."""
        return self._working is not None and not self._working.done()

    async def close(self) -> None:
        """Let go of it."""
        if self._working:
            self._working.cancel()
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        """Judge what waits; own the project for as long as there is any, and a little longer."""
        try:
            while self._queue:
                async with self._owned():
                    while await self._some():
                        await self._next()
        except asyncio.CancelledError:
            self._fail(None)
            raise
        except Overtaken:
            self._memory = None
            self._fail(Postpone("overtaken", "another worker has this project", after=random.uniform(0.5, 2)))
        except Exception as error:
            if not isinstance(error, Outage | Postpone):
                self._memory = None
            self._fail(error)

    @contextlib.asynccontextmanager
    async def _owned(self) -> AsyncIterator[None]:
        """Nobody else works on it meanwhile. Raises Postpone where somebody does for long."""
        form = self._form
        try:
            async with (
                asyncio.timeout(PATIENCE) as patience,
                self._parts.leases.hold(LEASE, f"{form.flow}-{form.node}-{form.recipe}"),
            ):
                patience.reschedule(None)
                await self._catch_up()
                yield
        except TimeoutError:
            if not patience.expired():
                raise
            after = random.uniform(LATER / 2, LATER)
            raise Postpone("in other hands", "another worker has this project", after=after) from None

    async def _some(self) -> bool:
        """Whether anything waits, or comes soon."""
        self._more.clear()
        if not self._queue:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._more.wait(), IDLE)
        return bool(self._queue)

    async def _next(self) -> None:
        """Judge a block of what waits."""
        block = self._taken()
        try:
            verdicts = await self._judged([each.ask for each in block], block[0].kin)
        except BaseException:
            self._queue.extendleft(reversed(block))
            raise
        for waiting, verdict in zip(block, verdicts, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(verdict)

    def _taken(self) -> list[Waiting]:
        """The first of what waits: a block of frames at most, no shard twice."""
        block, frames, entities = list[Waiting](), 0, set[str]()
        while self._queue:
            first = self._queue[0]
            frames += len(first.ask.indices)
            if block and (frames > BLOCK or first.ask.entity in entities or first.kin != block[0].kin):
                break
            entities.add(first.ask.entity)
            block.append(self._queue.popleft())
        return block

    async def _judged(self, asks: list[Ask], kin: frozenset[str]) -> list[Verdict]:
        """Verdicts, once they are recorded."""
        memory = await self._ready(kin)
        if new := [ask for ask in asks if memory.owes(ask.entity)]:
            number = self._log.last + 1
            data = await asyncio.to_thread(memory.judge, new, self._log.origin, number)
            await self._log.append(number, data)
            await asyncio.to_thread(memory.take, unpacked(data))
            await self._tidy(memory)
        return [memory.said(ask.entity) for ask in asks]

    async def _ready(self, kin: frozenset[str]) -> Memory:
        """What the ledger says, read if that was not done, or for other recipes, or before it was written anew."""
        if self._memory is None or self._memory.kin != kin or self._log.struck:
            self._memory = None
            self._memory = await self._read(kin)
        forgotten = self._parts.forgotten
        if forgotten.idents != self._seen:
            self._memory.forget(forgotten.names)
            self._seen = forgotten.idents
        return self._memory

    async def _read(self, kin: frozenset[str]) -> Memory:
        memory, self._segments, self._seen = self._empty(kin), [], frozenset()
        if memory.vectors:
            await self._sketches.read_basis(memory.vectors)
        async for found, pack in self._log.read():
            if found.first == found.last:
                await asyncio.to_thread(memory.take, pack)
            else:
                self._segments.append((found, pack))
                await asyncio.to_thread(memory.take, pack, await self._sketched(memory, found, pack))
        return memory

    async def _catch_up(self) -> None:
        """What others wrote since this worker had the project."""
        if self._memory is None:
            return
        try:
            async for _, pack in self._log.read_on():
                await asyncio.to_thread(self._memory.take, pack)
        except Overtaken:
            self._memory = None

    def _empty(self, kin: frozenset[str]) -> Memory:
        form = self._form
        hashes = Hashes(form.bits, self._pool) if form.bits is not None else None
        vectors = Vectors(form.dim, form.threshold, self._pool) if form.dim else None
        return Memory(hashes, vectors, kin)

    async def _tidy(self, memory: Memory) -> None:
        """Put entries into a segment when there are enough of them, and keep what a restart would reckon anew."""
        if memory.vectors and await self._sketches.keep_basis(memory.vectors):
            for found, pack in self._segments:
                await self._sketched(memory, found, pack)
        if memory.loose < ROWS and self._log.last - self._log.segmented < ENTRIES:
            return
        if made := await self._log.compact():
            self._segments.append(made)
            await asyncio.to_thread(memory.move, made[1])
            await self._sketched(memory, *made)

    async def _sketched(self, memory: Memory, found: Range, pack: Pack) -> tuple[np.ndarray, np.ndarray] | None:
        """Scales and sketches of a segment: those that are kept, or new ones, which are kept then."""
        if memory.vectors is None:
            return None
        kept = await self._sketches.read(found, pack.header.rows, memory.vectors.width)
        if kept is None:
            kept = await asyncio.to_thread(memory.vectors.sketched, memory.vectors_of(pack))
            await self._sketches.keep(found, *kept)
        return kept

    def _fail(self, error: Exception | None) -> None:
        """Whoever waits hears of it, so that nobody is judged before one that came first; None: all is cancelled."""
        while self._queue:
            answer = self._queue.popleft().answer
            if error is None:
                answer.cancel()
            elif not answer.done():
                answer.set_exception(error)
