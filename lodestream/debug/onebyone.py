"""Pulls one message at a time from all consumers together; others of its type keep serving the rest."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import nats.errors

from lodestream.bus import Bus, Delivery

PAUSE = 0.05
"""Seconds between looks, so that an error is not met again at once."""
EXPIRES = 2.0
"""Seconds that a look stands in line with those of other workers, before another consumer has its turn."""
ANSWER = 5.0
"""Seconds that the server has to answer a look."""
HEARTBEAT = 5.0
"""Seconds between signs of life for the message in hand."""


class AtOnce:
    """In place of `Turns` where one message at a time is in hand."""

    def pass_at_once(self, seq: int) -> bool:
        """Nobody is before it."""
        return True

    def back(self, seq: int) -> None:
        """See Turns."""


class Alone:
    """The one place in a worker: what waits keeps it, for nobody else wants it."""

    crowded = False
    turns = AtOnce()

    async def leave(self, delivery: Delivery) -> None:
        """See Puller."""

    async def enter(self, delivery: Delivery) -> None:
        """See Puller."""


class OneByOne(Alone):
    """In place of a `Puller`: asks for a message only while no other is in hand in this worker."""

    def __init__(
        self, bus: Bus, subject: str, handle: Callable[[Delivery], Awaitable[None]], *, window: int, turn: asyncio.Lock
    ):
        """`turn` is shared by all consumers of the worker; `window` does not matter."""
        self._bus, self._next, self._handle, self._turn = bus, subject, handle, turn

    async def start(self) -> "OneByOne":
        """Begin to look for messages."""
        self._inbox = self._bus.nc.new_inbox()
        self._answers = await self._bus.nc.subscribe(self._inbox)
        self._task = asyncio.create_task(self._run())
        return self

    async def stop(self, grace: float = 0) -> None:
        """Take nothing new, and hand back what is in hand."""
        await self.close()
        await self.finish(grace)

    async def close(self) -> None:
        """End; what is in hand is handed back."""
        self._task.cancel()
        if not self._bus.nc.is_closed:
            await self._answers.unsubscribe()

    async def finish(self, grace: float | None) -> None:
        """Wait for that."""
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            async with self._turn:
                while delivery := await self._look():
                    await self._work(delivery)
            await asyncio.sleep(PAUSE)

    async def _look(self) -> Delivery | None:
        ask = json.dumps({"batch": 1, "expires": int(EXPIRES * 1e9)}).encode()
        try:
            await self._bus.nc.publish(self._next, ask, reply=self._inbox)
            msg = await self._answers.next_msg(timeout=ANSWER)
        except (nats.errors.Error, TimeoutError):
            return None
        if not msg.reply.startswith("$JS.ACK."):
            return None
        return Delivery(msg, self._bus.nc, asyncio.get_running_loop().time(), self)  # type: ignore[arg-type]

    async def _work(self, delivery: Delivery) -> None:
        beating = asyncio.create_task(_beat(delivery))
        try:
            await self._handle(delivery)
        except asyncio.CancelledError:
            await delivery.nak(0)
            raise
        finally:
            beating.cancel()


async def _beat(delivery: Delivery) -> None:
    """Hold a message for as long as this runs."""
    while True:
        await asyncio.sleep(HEARTBEAT)
        await delivery.working()
