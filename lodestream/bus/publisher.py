"""Publish once: an identity subject is stored by the server a single time, and its refusal is the durable dedup ID."""

import asyncio
from itertools import count

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg

from lodestream.bus.connection import Bus

log = structlog.get_logger()

ACK_TIMEOUT = 5.0
"""Seconds to wait for the server's answer to one publish."""
PAUSES = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries while a stream is full or the server is away."""
STORE_FAILED = 10077
"""JetStream's error code for every refused store: only the description tells a duplicate from a full stream."""
AWAY = "the NATS server is away"

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
    if data.startswith(b'{"stream"') and b'"duplicate"' not in data:
        return True
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
        self._nc, self._loop, self._sent = bus.nc, asyncio.get_running_loop(), 0
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        """Futures of the server's answers, by ticket; tickets are counted up, so in order of sending."""
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
        for turn in count():
            self._sent += 1
            ticket = str(self._sent)
            answer = self._waiting[ticket] = self._loop.create_future()
            try:
                await self._nc.publish(subject, payload, reply=self._prefix + ticket, headers=headers)
                stored = _stored(await answer)
            except (_Later, nats.errors.OutboundBufferLimitError, nats.errors.ConnectionClosedError) as why:
                self._say(str(why) if isinstance(why, _Later) else AWAY)
                await asyncio.sleep(PAUSES[min(turn, len(PAUSES) - 1)])
            else:
                if self.waits_for:
                    self._say("")
                return stored
            finally:
                self._waiting.pop(ticket, None)
        raise AssertionError("unreachable")

    def _say(self, why: str) -> None:
        if why != self.waits_for:
            self.waits_for = why
            log.warning("publishing waits", why=why) if why else log.info("publishing goes on")

    async def _answered(self, msg: Msg) -> None:
        answer = self._waiting.pop(msg.subject[len(self._prefix) :], None)
        if answer is None or answer.done():
            return
        if msg.headers and msg.headers.get("Status") == "503":
            answer.set_exception(_Later("no stream takes it"))
        else:
            answer.set_result(msg.data)

    def _lost(self) -> None:
        self._fail(list(self._waiting), AWAY)

    def _fail(self, tickets: list[str], why: str) -> None:
        for ticket in tickets:
            answer = self._waiting.pop(ticket)
            if not answer.done():
                answer.set_exception(_Later(why))

    async def _sweep(self) -> None:
        """Give up on answers that are overdue: one look a timeout, at what was sent before the last look."""
        while True:
            before = self._sent
            await asyncio.sleep(ACK_TIMEOUT)
            overdue = [ticket for ticket in self._waiting if int(ticket) <= before]
            self._fail(overdue, "the NATS server does not answer")
