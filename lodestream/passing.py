"""Duties that go on through every outage, and say so once."""

import asyncio
from collections.abc import Awaitable, Callable

import nats.errors
import nats.js.errors

from lodestream.errors import LodeError, Outage

PASSING = (LodeError, Outage, nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError)
"""What somebody else mends: the same is tried again later."""
PAUSE = 10.0
"""Seconds until it is."""


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
