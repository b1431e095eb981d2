"""Turns: for nodes whose outputs hang on the order of their inputs, which is that of the stream.

A worker that takes up a consumer first waits until nobody else has anything of it in hand that came earlier: what a
killed worker had comes again after its ack wait, and it came before what is new.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

LOOKS = 0.2
"""Seconds between looks whether somebody else has messages in hand."""


class Turns:
    """The order in which the messages that one worker has in hand of one consumer pass."""

    def __init__(self, live: Collection[int], behind: Callable[[], Awaitable[bool]], patience: float):
        """`live` has the sequences that are in hand, `behind` asks whether others have any that came before these.

        After `patience` seconds what others have is not waited for any more: they are alive.
        """
        self._live, self._behind, self._patience = live, behind, patience
        self._passed: set[int] = set()
        self._changed = asyncio.Event()
        self._alone: asyncio.Task[None] | None = None
        self.taken = False
        """Whether any message has waited for its turn."""

    def pass_at_once(self, seq: int) -> bool:
        """Whether it is the turn of a message at this moment; it has passed then."""
        self._passed.discard(seq)
        if self._alone is None or not self._alone.done() or self._is_behind(seq):
            return False
        self._passed.add(seq)
        self._changed.set()
        return True

    async def wait(self, seq: int) -> None:
        """Until all messages in hand that came before it have passed, or are done with: it can pass, at once."""
        if self._alone is None:
            self.taken, self._alone = True, asyncio.create_task(self._wait_for_others())
        await asyncio.shield(self._alone)
        while self._is_behind(seq):
            self._changed.clear()
            await self._changed.wait()

    def back(self, seq: int) -> None:
        """It has to pass once more."""
        self._passed.discard(seq)

    def done(self, seq: int) -> None:
        """It is not in hand any more."""
        self._passed.discard(seq)
        self._changed.set()

    def _is_behind(self, seq: int) -> bool:
        return any(other < seq and other not in self._passed for other in self._live)

    async def _wait_for_others(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._patience
        while await self._behind() and loop.time() < end:
            await asyncio.sleep(LOOKS)
