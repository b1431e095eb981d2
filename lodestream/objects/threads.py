"""Blocking store calls in a few threads of their own, so that slow disks and servers do not starve the rest."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from lodestream.errors import Outage

Result = TypeVar("Result")
BATCH = 500
"""Items read from an iterator in one go."""


class Threads:
    """Runs a store's calls; the faults that `outage` names become `errors.Outage`."""

    def __init__(
        self, faults: tuple[type[BaseException], ...], outage: Callable[[Any], Outage], threads: int = 8
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, "objects")
        self._faults, self._outage = faults, outage

    async def run(self, work: Callable[..., Result], *given: Any) -> Result:
        """The result of `work(*given)`. Raises Outage for the store's faults, anything else as it is."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *given)
        except self._faults as fault:
            raise self._outage(fault) from fault

    async def iterate(self, items: Iterator[Result]) -> AsyncIterator[Result]:
        """What a blocking iterator gives, read in batches."""
        while batch := await self.run(lambda: list(islice(items, BATCH))):
            for item in batch:
                yield item
