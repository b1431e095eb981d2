"""Which processes of an instance are killed when: a plan that a seed decides, and the hand that carries it out."""

import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import nats.errors

from lodestream.bus import Bus
from lodestream.errors import LodeError
from proto import subjects
from tests.faults import instance
from tests.faults.instance import PATIENCE, Instance
from tests.faults.powercut import UNSYNCED, Disk

DECK = {"worker": 40, "child": 22, "nats": 13, "catalog": 9, "supervisor": 8, "guard": 4, "power": 4}
"""Of 100 strikes. `child`: what a worker has started, its zygote included; `guard`: the supervisor's parent;
`power`: everything at once, and what the NATS server had not synced is lost."""
ON_MINIO = DECK | {"minio": 12}
"""Where that is the object store."""
SEEING = {"worker": 50, "triton": 20, "nats": 12, "supervisor": 8, "power": 6, "catalog": 4}
"""Where frames are looked at."""
FIRST, LAST = 0.02, 0.96
"""Shares of all messages between which strikes fall."""
LOOK_EVERY = 0.02
LOSS, WORTH_IT = 500, 30.0
"""Bytes that a power cut should take, and seconds that it waits for as many to be written."""
ALL_AT_ONCE = ("supervisor", "guard", "power")
"""Those after which nothing of the instance runs."""


class Strike(NamedTuple):
    """One kill."""

    at: float
    """Share of all messages that are stored by then."""
    kind: str
    draw: float
    """Which of the processes of that kind, from 0 to 1."""


def plan(seed: int, count: int, deck: Mapping[str, int] = DECK, first: float = FIRST) -> list[Strike]:
    """About `count` strikes from share `first` of all messages on, one power cut at least.

    The same seed plans the same.
    """
    chance = random.Random(seed)
    whole = sum(deck.values())
    kinds = [kind for kind, share in deck.items() for _ in range(round(count * share / whole) or kind == "power")]
    chance.shuffle(kinds)
    moments = sorted(chance.uniform(first, LAST) for _ in kinds)
    return [Strike(at, kind, chance.random()) for at, kind in zip(moments, kinds, strict=True)]


class Killer:
    """Carries out a plan on a running instance, as the flow's stream grows."""

    def __init__(
        self, target: Instance, flow: str, bus: Bus, disk: Disk, messages: int, deploy: Callable[[], Awaitable[None]]
    ):
        """`messages` is what the stream has in the end; `deploy` puts the flow to work."""
        self.target, self.flow, self.bus, self.disk, self.messages = target, flow, bus, disk, messages
        self._deploy, self._deployed = deploy, 0.0
        self.killed: Counter[str] = Counter()
        self.orphans: list[int] = []
        """Processes that outlived all that should have ended with their supervisor."""
        self.lost_bytes = 0
        """What the power cuts took of the server's store."""
        self.published: list[tuple[float, bytes]] = []
        """Seeds, and when each was acknowledged."""
        self.began = self.cut_at = time.monotonic()

    async def deploy(self) -> None:
        """Put the flow to work."""
        await self._deploy()
        self._deployed = time.monotonic()

    async def run(self, strikes: list[Strike]) -> None:
        """All of the plan, in order."""
        for strike in strikes:
            while await self._stored() < strike.at * self.messages:
                await asyncio.sleep(LOOK_EVERY)
            await self._strike(strike)
            self.killed[strike.kind] += 1
            where = f"{await self._stored()} of {self.messages} messages"
            print(f"{time.monotonic() - self.began:6.1f} s  {strike.kind:10} {where}", file=sys.stderr, flush=True)

    async def publish(self, seed: bytes) -> None:
        """Publish as a careful program does: again, until it is acknowledged."""
        while True:
            with contextlib.suppress(nats.errors.Error, OSError):
                await self.bus.nc.jetstream(timeout=2).publish(subjects.seeds(self.flow), seed)
                self.published.append((time.monotonic(), seed))
                return
            await asyncio.sleep(0.1)

    async def _repeat(self) -> None:
        """What was acknowledged shortly before a power cut is for those to repeat who asked for it."""
        if self._deployed > self.cut_at - 2 * UNSYNCED:
            await self.deploy()
        for when, seed in list(self.published):
            if when > self.cut_at - 2 * UNSYNCED:
                await self.publish(seed)

    async def _stored(self) -> int:
        with contextlib.suppress(nats.errors.Error, OSError):
            js = self.bus.nc.jetstream(timeout=1)
            return (await js.stream_info(subjects.stream(self.flow))).state.last_seq
        return 0

    async def _strike(self, strike: Strike) -> None:
        if strike.kind == "power":
            await self._cut_power()
        elif strike.kind == "minio":
            await self._kill_minio(0.2 + strike.draw)
        else:
            await self._kill_one(strike)
        if strike.kind in ALL_AT_ONCE:
            self.orphans += await asyncio.to_thread(self.target.wait_for_end)
            if strike.kind == "power":
                self.lost_bytes += self.disk.cut()
            await asyncio.to_thread(self.target.restart)
            with contextlib.suppress(LodeError):  # not for want of this
                await self.target.hasten(self.bus, self.flow)
            if strike.kind == "power":
                await self._repeat()

    async def _kill_one(self, strike: Strike) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                found = self.target.victims(strike.kind)
                if found and instance.kill(found[int(strike.draw * len(found))]):
                    return
                await asyncio.sleep(LOOK_EVERY)

    async def _kill_minio(self, away: float) -> None:
        assert self.target.minio
        await asyncio.to_thread(self.target.minio.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(self.target.minio.start)

    async def _cut_power(self) -> None:
        """At a moment at which something is written, if there is one soon."""
        deadline = time.monotonic() + WORTH_IT
        while self.disk.unsynced() < LOSS and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_EVERY)
        self.cut_at = time.monotonic()
        self.disk.fail()
        await asyncio.to_thread(self.target.kill_all)
