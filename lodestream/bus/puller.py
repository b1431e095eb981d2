"""Continuous pull with credit: one standing request per free half of the window, heartbeats, an own watchdog."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats.errors
import structlog
from nats.aio.msg import Msg

from lodestream.bus.connection import Bus
from lodestream.bus.turns import Turns
from proto import subjects

log = structlog.get_logger()

EXPIRES = 30.0
"""Seconds that one pull request stands."""
HEARTBEAT = 5.0
"""Seconds between the server's signs of life on an idle pull."""
LAST_WORDS = 2.0
"""Seconds that the server has to confirm that it sends nothing more."""
HELD_BACK = 1.0
"""Seconds without a new pull after the server refused one, or it would be asked again at once, for ever."""
FEW = 64
"""Places of which every free one is asked to be filled at once: what is done in them takes long."""
LONG = 5.0
"""Seconds of work after which its consumer may have become another's: see `flow.record.REST`."""
PARKED = 256
"""Messages in hand without a place, from which on no more are asked for."""


class Delivery:
    """One delivered message: its bytes, where it stands in its stream, and the ways to answer."""

    __slots__ = (
        *("_came", "_nc", "_puller", "attempt", "data", "headers", "reply", "seq", "still_ours", "subject", "task"),
        "touched",
    )
    task: asyncio.Task[None]
    """Works on it."""
    still_ours: Callable[[], Awaitable[bool]] | None
    """Asked before it is acked, where it was worked on for `LONG`: its consumer's name may be another's by then."""

    def __init__(self, msg: Msg, nc: object, now: float, puller: "Puller"):
        self._nc, self.data, self.subject, self.reply, self.headers = nc, msg.data, msg.subject, msg.reply, msg.headers
        self._puller = puller
        parts = msg.reply.split(".")
        at = 4 if len(parts) == 9 else 6
        self.attempt, self.seq, self.touched = int(parts[at]), int(parts[at + 1]), now
        self.still_ours, self._came = None, now

    @property
    def token(self) -> str:
        """Names the message for good, also when a stream of the same name is made again: sequence and time."""
        parts = self.reply.split(".")
        return f"{self.seq}-{parts[7 if len(parts) == 9 else 9]}"

    @property
    def given(self) -> int:
        """The number under which its consumer has given it out: counted from 1, with what was given out again."""
        parts = self.reply.split(".")
        return int(parts[6 if len(parts) == 9 else 8])

    async def ack(self) -> None:
        """Done: never deliver it again. A lost ack costs one redelivery, which the identity subjects absorb."""
        if self.still_ours is None or self._puller.time() - self._came < LONG or await self.still_ours():
            await self._nc.publish(self.reply)  # type: ignore[attr-defined]

    async def nak(self, delay: float) -> None:
        """Deliver it again after `delay` seconds."""
        await self._nc.publish(self.reply, b'-NAK {"delay": %d}' % int(delay * 1e9))  # type: ignore[attr-defined]

    async def working(self) -> None:
        """Hold it for another ack wait."""
        await self._nc.publish(self.reply, b"+WPI")  # type: ignore[attr-defined]

    def crowded(self) -> bool:
        """Whether no more messages are asked for, because so many are parked."""
        return self._puller.crowded

    async def turn(self) -> None:
        """Wait until all messages of its consumer that came before it have had theirs, or are done with.

        After a failure it is had once more: see `turn_back`.
        """
        turns = self._puller.turns
        while not turns.pass_at_once(self.seq):
            async with self.parked():
                await turns.wait(self.seq)

    def turn_back(self) -> None:
        """Those behind it wait for it again, as long as they have not passed."""
        self._puller.turns.back(self.seq)

    @asynccontextmanager
    async def parked(self) -> AsyncIterator[None]:
        """Inside, it waits for something: another message has its place in the worker meanwhile."""
        await self._puller.leave(self)
        try:
            yield
        except Exception:
            await self._puller.enter(self)
            raise
        await self._puller.enter(self)


class Puller:
    """Pulls from one consumer, `window` messages at most in hand; `handle` must not raise and answers each delivery."""

    def __init__(
        self,
        bus: Bus,
        subject: str,
        handle: Callable[[Delivery], Awaitable[None]],
        *,
        window: int = 256,
        ack_wait: float = 30.0,
    ):
        """`subject` is the consumer's `MSG.NEXT`; `ack_wait` in seconds, as its consumer has it."""
        self._nc, self._next, self._handle = bus.nc, subject, handle
        self.window, self._ack_wait = window, ack_wait
        self._refill = window // 2 if window > FEW else 1
        """Free places from which on more is asked for."""
        self._asked: dict[str, int] = {}
        self._live: dict[int, Delivery] = {}
        self._parked: set[int] = set()
        """Those of them that have no place."""
        self._line: deque[tuple[asyncio.Future[None], int]] = deque()
        """Those of these that want one."""
        self._credit = 0
        """Messages asked for that have not come."""
        self._tickets, self._stopping, self._hold, self._seen = 0, False, 0.0, 0.0
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        """Seconds, as the loop counts them."""
        self._prefix = bus.nc.new_inbox() + "."
        self.turns = Turns(self._live, self._behind, 1.5 * ack_wait)
        self._bus = bus

    async def start(self) -> "Puller":
        """Subscribe and ask for the first messages."""
        self._bus.on_lost.append(self._forget)
        self._seen = self.time()
        self._sub = await self._nc.subscribe(
            self._prefix + "*", cb=self._arrived, pending_msgs_limit=0, pending_bytes_limit=0
        )
        self._ticker = asyncio.create_task(self._tick())
        await self._pull()
        return self

    async def stop(self, grace: float = 10.0) -> None:
        """Take nothing new, finish what is in hand within `grace` seconds, hand the rest back."""
        await self.close()
        await self.finish(grace)

    async def close(self) -> None:
        """Ask for nothing more. What has been sent by now is taken, or it would lie until its ack wait is over."""
        self._stopping = True
        self._bus.on_lost.remove(self._forget)
        with contextlib.suppress(nats.errors.Error, TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._sub.drain()

    async def finish(self, grace: float | None) -> None:
        """Once closed, wait for what is in hand, `grace` seconds at most (None: for ever), and hand the rest back."""
        if grace is not None:
            for seq in self._parked:
                self._live[seq].task.cancel()
        if tasks := [delivery.task for delivery in self._live.values()]:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks, timeout=grace)
        self._ticker.cancel()

    @property
    def in_hand(self) -> int:
        """Messages being worked on, the parked included."""
        return len(self._live)

    @property
    def at_work(self) -> int:
        """Messages that have a place, of which there are `window`."""
        return len(self._live) - len(self._parked)

    @property
    def crowded(self) -> bool:
        """Whether as many are parked as may be."""
        return len(self._parked) >= PARKED

    async def leave(self, delivery: Delivery) -> None:
        """Give up its place; it stays in hand."""
        self._parked.add(delivery.seq)
        self._next_in_line()
        await self._pull()

    async def enter(self, delivery: Delivery) -> None:
        """Take a place again: in line with others that want one, and before any new message."""
        if self._line or self.at_work >= self.window:
            turn = self._loop.create_future()
            self._line.append((turn, delivery.seq))
            await turn
        else:
            self._parked.discard(delivery.seq)

    def _next_in_line(self) -> None:
        """Hand on places that have become free."""
        while self._line and self.at_work < self.window:
            turn, seq = self._line.popleft()
            if not turn.done():  # it was cancelled while it waited
                self._parked.discard(seq)
                turn.set_result(None)

    async def _pull(self) -> None:
        """Ask for as many messages as there is room for, once that is worth it."""
        room = min(self.window - self.at_work, self.window + PARKED - len(self._live)) - self._credit
        if room < self._refill or self._stopping or not self._nc.is_connected or self.time() < self._hold:
            return
        self._tickets += 1
        ticket = str(self._tickets)
        self._asked[ticket] = room
        self._credit += room
        ask = {"batch": room, "expires": int(EXPIRES * 1e9), "idle_heartbeat": int(HEARTBEAT * 1e9)}
        await self._nc.publish(self._next, json.dumps(ask).encode(), reply=self._prefix + ticket)

    async def _arrived(self, msg: Msg) -> None:
        self._seen = self.time()
        if not msg.reply or not msg.reply.startswith("$JS.ACK."):
            await self._status(msg)
            return
        self._use_credit()
        delivery = Delivery(msg, self._nc, self._seen, self)
        if (known := self._live.get(delivery.seq)) is not None:
            known.reply = delivery.reply  # redelivered while it is worked on: answer to the newer delivery
            return
        self._live[delivery.seq] = delivery
        if len(self._live) - len(self._parked) > self.window:  # one that was parked has taken its place
            self._parked.add(delivery.seq)
        delivery.task = self._loop.create_task(self._one(delivery))

    def _use_credit(self) -> None:
        for ticket in self._asked:
            self._credit -= 1
            self._asked[ticket] -= 1
            if self._asked[ticket] <= 0:
                del self._asked[ticket]
            return

    def _forget(self) -> None:
        """What was asked for will not come."""
        self._asked.clear()
        self._credit = 0

    async def _status(self, msg: Msg) -> None:
        status = (msg.headers or {}).get("Status", "")
        if status == "100":
            return
        self._credit -= self._asked.pop(msg.subject[len(self._prefix) :], 0)
        if status not in ("404", "408"):
            self._hold = self.time() + HELD_BACK
        await self._pull()

    async def _one(self, delivery: Delivery) -> None:
        try:
            if self._parked and delivery.seq in self._parked:
                await self.enter(delivery)
            await self._handle(delivery)
        except asyncio.CancelledError:
            await delivery.nak(0)
            raise
        finally:
            self._live.pop(delivery.seq, None)
            if self._parked:
                self._parked.discard(delivery.seq)
            if self.turns.taken:
                self.turns.done(delivery.seq)
            if self._line:
                self._next_in_line()
        if self.window - len(self._live) + len(self._parked) >= self._credit + self._refill:
            await self._pull()

    async def _behind(self) -> bool:
        """Whether other workers have messages in hand that were given out before ours; no where the server is silent.

        Below the server's floor all are acked. One that was given out again holds the floor down where it was before,
        so with such in hand it only counts whether others have any.
        """
        try:
            answer = await self._nc.request(subjects.about_consumer(self._next), b"", timeout=LAST_WORDS)
        except (nats.errors.Error, TimeoutError):
            return False
        told = json.loads(answer.data)
        first = min((delivery.given for delivery in self._live.values()), default=0)
        return told.get("num_ack_pending", 0) > len(self._live) and told["ack_floor"]["consumer_seq"] < first - 1

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(min(HEARTBEAT / 2, self._ack_wait / 6))
            now = self.time()
            if not self._nc.is_connected:
                continue
            if self._asked and now - self._seen > 2.5 * HEARTBEAT:
                log.debug("pull went quiet; asking again", consumer=self._next)
                self._forget()
                self._seen = now
            for delivery in list(self._live.values()):
                if now - delivery.touched > self._ack_wait / 3:
                    delivery.touched = now
                    await delivery.working()
            await self._pull()
