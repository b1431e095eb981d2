"""One stream in order, without a gap, until in doubt.

The tables say how far they are, not the server: the consumer is made anew behind the watermark. What the server
delivers is counted (the consumer's own sequence), so a message lost on the way is noticed; then, and after every lost
connection, this feed ends and another takes its place.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import NamedTuple

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from lodestream.bus import Bus
from proto import subjects
from services.catalog.project import Record

log = structlog.get_logger()

WINDOW = 512
"""Messages in hand that are not yet in the tables."""
EXPIRES = 60.0
"""Seconds that one pull request stands."""
HEARTBEAT = 10.0
"""Seconds between the server's signs of life on an idle pull."""
ACK_WAIT = 3600.0
"""Seconds. What is redelivered is not taken: the feed ends."""
PATIENCE = 2.0
"""Seconds for the server to answer."""


async def within(seconds: float, event: asyncio.Event) -> None:
    """Wait for the event, so long at most. Unlike Python 3.11's `wait_for` it never swallows a cancellation."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Received(NamedTuple):
    """One message on its way into the tables, and where its reception is acknowledged."""

    feed: "Feed"
    record: Record
    reply: str


class Feed:
    """Gives `take` the messages of one stream behind `after`, in order."""

    def __init__(self, bus: Bus, stream: str, after: int, take: Callable[[Received], None]):
        self._bus, self._stream, self._after, self._take = bus, stream, after, take
        self._in_hand = self._asked = self._delivered = 0
        self._doubt = asyncio.Event()
        self._next = subjects.next_message(stream, subjects.CATALOG)
        self._inbox = bus.nc.new_inbox()
        self._seen = 0.0

    async def run(self) -> None:
        """Deliver until a message is missing, the connection is lost, or the server says something unexpected.

        Raises TimeoutError and nats.errors.Error where the server does not let it start.
        """
        self._bus.on_lost.append(self._doubt.set)
        try:
            await self._make_consumer()
            await self._deliver()
        finally:
            self._doubt.set()
            self._bus.on_lost.remove(self._doubt.set)

    async def done(self, count: int, last: Received) -> None:
        """Say that `count` messages, `last` the last of them, are in the tables; ask for more."""
        self._in_hand -= count
        if not self._doubt.is_set():
            with contextlib.suppress(nats.errors.Error):
                await self._bus.nc.publish(last.reply)
                await self._pull()

    async def _make_consumer(self) -> None:
        js = self._bus.nc.jetstream(timeout=PATIENCE)
        with contextlib.suppress(NotFoundError):
            await js.delete_consumer(self._stream, subjects.CATALOG)
        config = ConsumerConfig(
            name=subjects.CATALOG,
            durable_name=subjects.CATALOG,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._after + 1,
            ack_policy=AckPolicy.ALL,
            ack_wait=ACK_WAIT,
            max_ack_pending=2 * WINDOW,
        )
        await js.add_consumer(self._stream, config)

    async def _deliver(self) -> None:
        loop, self._seen = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        subscription = await self._bus.nc.subscribe(
            self._inbox, cb=self._arrived, pending_msgs_limit=0, pending_bytes_limit=0
        )
        try:
            await self._pull()
            while not self._doubt.is_set() and loop.time() - self._seen < 2.5 * HEARTBEAT:
                await within(HEARTBEAT, self._doubt)
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _pull(self) -> None:
        """Ask for as many messages as there is room for, once that is half a window."""
        room = WINDOW - self._in_hand - self._asked
        if room * 2 >= WINDOW:
            self._asked += room
            ask = {"batch": room, "expires": int(EXPIRES * 1e9), "idle_heartbeat": int(HEARTBEAT * 1e9)}
            await self._bus.nc.publish(self._next, json.dumps(ask).encode(), reply=self._inbox)

    async def _arrived(self, msg: Msg) -> None:
        self._seen = asyncio.get_running_loop().time()
        headers = msg.headers or {}
        if msg.reply.startswith("$JS.ACK."):
            self._message(msg)
        elif headers.get("Status") == "408":
            self._asked -= int(headers.get("Nats-Pending-Messages", self._asked))
            await self._pull()
        elif headers.get("Status") != "100":
            log.debug("feed ends", stream=self._stream, why=headers)
            self._doubt.set()

    def _message(self, msg: Msg) -> None:
        """Take it if it is the next one: the consumer counts its deliveries, a message lost on the way leaves a gap."""
        parts = msg.reply.split(".")
        first = 5 if len(parts) == 9 else 7
        seq, count, nanoseconds = (int(part) for part in parts[first : first + 3])
        if self._doubt.is_set() or count != self._delivered + 1:
            self._doubt.set()
            return
        self._delivered = count
        self._asked -= 1
        self._in_hand += 1
        self._take(Received(self, Record(self._stream, seq, nanoseconds // 1000, msg.subject, msg.data), msg.reply))
