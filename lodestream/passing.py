"""Duties that go on through every outage and say so once, and how to end one."""

import asyncio
from collections.abc import Awaitable, Callable

import nats.errors
import nats.js.errors

from lodestream.errors import LodeError, Outage

PASSING = (LodeError, Outage, nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)
"""What somebody else mends: the same is tried again later."""
PAUSE = 10.0
"""Seconds until it is."""
PATIENCE = 5.0
"""Seconds that a duty has to put things in order before it is told again to end."""


async def again_and_again(
    what: str, turn: Callable[[], Awaitable[None]], every: float, say: Callable[[str], None]
) -> None:
    """Do a turn of some work every so many seconds, until cancelled; `say` is told when it waits and goes on."""
    waits = False
    while True:
        try:
            await turn()
            if waits:
                say(f"{what} goes on")
            waits, pause = False, every
        except PASSING as error:
            if not waits:
                say(f"{what} waits: {str(error) or type(error).__name__}")
            waits, pause = True, PAUSE
        await asyncio.sleep(pause)


async def ended(duty: "asyncio.Task[None]") -> None:
    """Cancel a duty until it has ended: what it waits for may come at that moment, and be all that it hears of."""
    while not duty.done():
        duty.cancel()
        await asyncio.wait([duty], timeout=PATIENCE)
