"""Publish once: an identity subject is stored by the server a single time, and its refusal is the durable dedup ID."""

import asyncio
from collections.abc import Sequence

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg

from lodestream.bus.connection import Bus

log = structlog.get_logger()

ACK_TIMEOUT = 5.0
"""Seconds to wait for the server's answer to one publish."""
FULL_PAUSES = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries while a stream is full or the server is away."""
STORE_FAILED = 10077
"""JetStream's error code for every refused store: only the description tells a duplicate from a full stream."""
WINDOW = 512
"""Publishes of one batch in flight."""

Headers = dict[str, str] | None


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct):
    error: _Error | None = None
    duplicate: bool = False
    seq: int = 0


_decode = msgspec.json.Decoder(_Answer).decode


class Refused(Exception):
    """The server will never store this: a mistake of ours, not a condition that passes."""


class _Later(Exception):
    """No answer, or no room: ask again."""


def _stored(data: bytes) -> bool:
    """True when stored, False when known. Raises _Later when the stream is full, Refused for anything else."""
    answer = _decode(data)
    if answer.error is None:
        return not answer.duplicate
    text = answer.error.description
    if answer.error.err_code == STORE_FAILED and text == "maximum messages per subject exceeded":
        return False
    if "maximum" in text or "insufficient" in text or "no space" in text or "temporarily unavailable" in text:
        raise _Later(text)
    raise Refused(text)


class Publisher:
    """Pipelined publishes with answers on one inbox; keeps trying through lost connections and full streams."""

    def __init__(self, bus: Bus):
        self._nc, self._waiting, self._sent = bus.nc, {}, 0  # type: ignore[var-annotated]
        self._prefix = bus.nc.new_inbox() + "."
        self.waits_for = ""
        """Why publishing stands still, in words; empty while it does not."""
        bus.on_lost.append(self._lost)

    async def start(self) -> "Publisher":
        """Listen for answers."""
        self._sub = await self._nc.subscribe(
            self._prefix + "*", cb=self._answered, pending_msgs_limit=0, pending_bytes_limit=0
        )
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def stop(self) -> None:
        """Stop listening; what still waits is told that it was lost."""
        self._sweeper.cancel()
        self._lost()
        if not self._nc.is_closed:
            await self._sub.unsubscribe()

    async def publish(self, subject: str, payload: bytes, headers: Headers = None) -> bool:
        """True when the server stored it, False when it knew it already. Waits while the stream is full.

        Raises Refused when the server would never take it.
        """
        try:
            return _stored(await self._send(subject, payload, headers))
        except _Later as why:
            return await self._persist(subject, payload, headers, why)

    async def publish_all(self, batch: Sequence[tuple[str, bytes, Headers]]) -> list[bool]:
        """Like `publish`, for many at once, in order of the batch."""
        if len(batch) == 1:
            return [await self.publish(*batch[0])]
        stored: list[bool] = []
        for start in range(0, len(batch), WINDOW):
            stored += await asyncio.gather(*(self.publish(*one) for one in batch[start : start + WINDOW]))
        return stored

    async def _send(self, subject: str, payload: bytes, headers: Headers) -> bytes:
        self._sent += 1
        ticket = str(self._sent)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting[ticket] = (answer, loop.time() + ACK_TIMEOUT)
        try:
            await self._nc.publish(subject, payload, reply=self._prefix + ticket, headers=headers)
            return await answer
        except (nats.errors.OutboundBufferLimitError, nats.errors.ConnectionClosedError) as error:
            raise _Later("the NATS server is away") from error
        finally:
            self._waiting.pop(ticket, None)

    async def _persist(self, subject: str, payload: bytes, headers: Headers, why: _Later) -> bool:
        for turn in range(1 << 30):
            self._say(str(why))
            await asyncio.sleep(FULL_PAUSES[min(turn, len(FULL_PAUSES) - 1)])
            try:
                stored = _stored(await self._send(subject, payload, headers))
            except _Later as again:
                why = again
                continue
            self._say("")
            return stored
        raise AssertionError("unreachable")

    def _say(self, why: str) -> None:
        if why != self.waits_for:
            self.waits_for = why
            log.warning("publishing waits", why=why) if why else log.info("publishing goes on")

    async def _answered(self, msg: Msg) -> None:
        waiting = self._waiting.pop(msg.subject[len(self._prefix) :], None)
        if waiting is None or waiting[0].done():
            return
        if msg.headers and msg.headers.get("Status") == "503":
            waiting[0].set_exception(_Later("no stream takes it"))
        else:
            waiting[0].set_result(msg.data)

    def _lost(self) -> None:
        for answer, _ in self._waiting.values():
            if not answer.done():
                answer.set_exception(_Later("the NATS server is away"))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1)
            now = asyncio.get_running_loop().time()
            for answer, deadline in list(self._waiting.values()):
                if now > deadline and not answer.done():
                    answer.set_exception(_Later("the NATS server does not answer"))
