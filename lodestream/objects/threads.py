"""Blocking store calls in a few threads of their own, so that slow disks and servers do not starve the rest."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from lodestream.errors import Outage

Result = TypeVar("Result")
BATCH = 500
"""Items read from an iterator in one go."""
SOON = 0.001
"""Seconds that the outcome of a short call is kept, to be told with others."""
LOOK_EVERY, FEW = 0.005, 16
"""Seconds between looks whether one thread is enough for short calls, and of how many in that time it is not."""

Told = tuple["asyncio.Future[Any]", Any, BaseException | None]


class Threads:
    """Runs a store's calls; the faults that `outage` names become `errors.Outage`."""

    def __init__(
        self, faults: tuple[type[BaseException], ...], outage: Callable[[Any], Outage], threads: int = 8
    ) -> None:
        self._pool, self._most = ThreadPoolExecutor(threads, "objects"), threads // 2
        self._faults, self._outage = faults, outage
        self._short: deque[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._busy, self._taken, self._looking = 0, 0, False

    async def run(self, work: Callable[..., Result], *given: Any) -> Result:
        """The result of `work(*given)`. Raises Outage for the store's faults, anything else as it is."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *given)
        except self._faults as fault:
            raise self._outage(fault) from fault

    async def run_short(self, work: Callable[..., Result], *given: Any) -> Result:
        """As `run`, for calls that take less than the wake-up of a thread: a thread takes all that wait by then."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._short.append((future, work, given))
        if not self._busy:
            self._busy = 1
            loop.call_soon(self._pool.submit, self._work, loop)
            if not self._looking:
                self._looking = True
                loop.call_later(LOOK_EVERY, self._look, loop, self._taken)
        try:
            return await future
        except self._faults as fault:
            raise self._outage(fault) from fault

    async def iterate(self, items: Iterator[Result]) -> AsyncIterator[Result]:
        """What a blocking iterator gives, read in batches."""
        while batch := await self.run(lambda: list(islice(items, BATCH))):
            for item in batch:
                yield item

    def _look(self, loop: asyncio.AbstractEventLoop, taken: int) -> None:
        """Have one thread more where calls are slow today: two that write side by side cost more than one."""
        if self._short and self._taken - taken < FEW and self._busy < self._most:
            self._busy += 1
            self._pool.submit(self._work, loop)
        self._looking = self._busy > 0
        if self._looking:
            loop.call_later(LOOK_EVERY, self._look, loop, self._taken)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: short calls until none is left; their outcomes are told a few at a time."""
        done: list[Told] = []
        due = time.monotonic() + SOON
        while self._short:
            try:
                future, work, given = self._short.popleft()
            except IndexError:
                break
            self._taken += 1
            try:
                done.append((future, work(*given), None))
            except BaseException as error:
                done.append((future, None, error))
            if (now := time.monotonic()) > due:
                loop.call_soon_threadsafe(_tell, done)
                done, due = [], now + SOON
        loop.call_soon_threadsafe(self._ended, loop, done)

    def _ended(self, loop: asyncio.AbstractEventLoop, done: list[Told]) -> None:
        """Back in the loop: whoever came after the thread had its last look has another one."""
        self._busy -= 1
        _tell(done)
        if self._short and not self._busy:
            self._busy = 1
            self._pool.submit(self._work, loop)


def _tell(done: list[Told]) -> None:
    """Outcomes to those who wait for them, and still do."""
    for future, result, error in done:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
