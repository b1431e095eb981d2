"""The hands of the embedded stack: workers started beside the first of their service, and ended again."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec.structs import replace

from lodestream.local.child import Child, Program
from lodestream.local.table import name_of
from lodestream.scaling.policy import Limits


def bounds(table: Sequence[Program]) -> dict[str, Limits]:
    """How many workers there are of each service whose number follows what waits; at least those of the table."""
    least = Counter(program.service for program in table)
    return {program.service: Limits(least[program.service], program.most) for program in table if program.most}


class Crew:
    """The workers of an instance, as `keep_scaled` wants them."""

    def __init__(
        self,
        table: Sequence[Program],
        children: Sequence[Child],
        add: Callable[[Program], Child],
        remove: Callable[[Child], Awaitable[None]],
    ):
        """`children` are those that there are at any time; `add` and `remove` change that."""
        self._first = {program.service: program for program in table if program.most}
        self._children, self._add, self._remove = children, add, remove

    async def counts(self) -> Mapping[str, int]:
        """See Hands."""
        return Counter(child.program.service for child in self._children)

    async def scale(self, service: str, workers: int) -> None:
        """See Hands."""
        there = {child.program.name: child for child in self._children if child.program.service == service}
        wanted = [name_of(service, number) for number in range(1, workers + 1)]
        for name in wanted:
            if name not in there:
                self._add(replace(self._first[service], name=name))
        await asyncio.gather(*(self._remove(there[name]) for name in there if name not in wanted))
