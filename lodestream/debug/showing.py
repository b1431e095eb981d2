"""A runner that shows what it does, and asks a person where it cannot: it makes no dead letter of a failure."""

import asyncio
import time
from bdb import BdbQuit
from collections.abc import Callable
from typing import Any

from lodestream.bus import Delivery
from lodestream.debug.beside import within
from lodestream.debug.screen import choose, legible, say
from lodestream.rights import deliveries
from lodestream.runner import NEXT_RECORD, Runner
from proto.messages import Message

HANDED_BACK = 5.0
"""Seconds until a message that was handed back is delivered again: others than this worker may take it."""


class Showing(Runner):
    """`home` is the loop in the main thread, where the terminal is; `end` is called when the person quits."""

    home: asyncio.AbstractEventLoop
    end: Callable[[], object]

    async def handle(self, delivery: Delivery) -> None:
        """Take one message to its end, or hand it back."""
        started = time.perf_counter()
        say(f"\n{self.name} of flow {self.flow}: {delivery.subject}")
        say(f"  message {delivery.seq}, delivery {delivery.attempt}, held until it is answered")
        while True:
            try:
                await self._once(delivery)
                say(f"  done in {time.perf_counter() - started:.2f} s")
                return
            except BdbQuit:
                choice = "q"
            except Exception as error:
                choice = await self._ask(error, delivery)
            if choice != "r":
                await delivery.nak(HANDED_BACK if choice == "b" else 0)
                say("  handed back")
                if choice == "q":
                    self.end()
                return

    async def _once(self, delivery: Delivery) -> None:
        item = self._read(delivery)
        say(legible(item.message or item.raw.decode(errors="replace")))
        fate = await self._judge(item.cause, item.recipe, delivery.seq)
        if fate == "work":
            await self._make(item, delivery)
        elif fate == "skip":
            say("  not of this flow as it is deployed now: acked without work")
            await delivery.ack()
        else:
            await delivery.nak(NEXT_RECORD)

    async def _ask(self, error: Exception, delivery: Delivery) -> str:
        async def asked() -> str:
            return choose(error, delivery.attempt, deliveries(self.node.type))

        return await within(self.home, asked())

    async def _announce(
        self, port: str, message: Message, cause: str, recipe: str, headers: dict[str, str] | None
    ) -> None:
        known = self.tally.known
        await super()._announce(port, message, cause, recipe, headers)
        say(f"  {'known' if self.tally.known > known else 'gave'} {port}: {message.id}")
        say(legible(message))


def showing(home: asyncio.AbstractEventLoop, end: Callable[[], object]) -> Callable[..., Runner]:
    """Makes such runners."""

    def make(*parts: Any) -> Runner:
        runner = Showing(*parts)
        runner.home, runner.end = home, end
        return runner

    return make
