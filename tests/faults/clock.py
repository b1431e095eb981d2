"""Clock and order: everything redelivered in any order, twice and to two workers at once, by clocks that are wrong.

The end is that of the same flow in peace: the same outputs, nothing more, nothing dead.
"""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from lodestream.bus.reader import held
from lodestream.deadletters import offer, offered_on
from lodestream.flow.model import Consumer
from lodestream.flow.store import load_deployed
from lodestream.streams import SECOND
from proto import subjects
from proto.messages import Again
from tests.faults import figures
from tests.faults.hands import Hands
from tests.faults.live import FLOW, instance, leftovers, outcome, put, quiet, sow
from tests.support.servers import start_nats

TEXT = """\
flow: live
nodes:
  s:    {type: start}
  find: {type: find, from: s}
  g1:   {type: get, from: find, word: red}
  g2:   {type: draw, from: find, word: green}
  t1:   {type: turn, from: [g1, g2], word: blue}
  u1:   {type: spin, from: [t1, g1], word: red}
"""
SLOW = TEXT.replace("word: red", "word: red, slow: 1.6").replace("word: blue", "word: blue, slow: 1.6, concurrency: 64")
OTHER = SLOW.replace("word: green", "word: grey")
TYPES = ("start", "find", "get", "draw", "turn", "spin")
ACK_WAIT = 1
"""Seconds, less than the work takes: then another worker gets the same message meanwhile."""
DAY = 86_400.0
CLOCKS = (-400 * DAY, -3600.0, 7.0, 3600.0, 400 * DAY)
"""Seconds by which clocks are wrong."""
DEPLOY = f"""
import asyncio, sys
from lodestream.bus import connect
from lodestream.flow import consumers
from tests.faults.live import put
consumers.SETTINGS["ack_wait"] = {ACK_WAIT * SECOND}
consumers.deliveries = lambda kind: -1
async def main():
    bus = await connect(sys.argv[1], patience=20)
    await put(bus.nc, sys.argv[2])
    await bus.close()
asyncio.run(main())
"""
"""Deploys so that the server gives up on workers sooner than they work, but never on messages."""


class Size(NamedTuple):
    """How much of it."""

    seeds: int
    rounds: int
    """Times that the flow is deployed by a clock that is wrong."""
    teams: int
    """Sets of workers, all but one by clocks that are wrong."""
    patience: float


FULL, SHORT = Size(150, 10, 3, 900), Size(8, 2, 2, 150)


class Thief:
    """Takes messages that are meant for workers, and hands them back after a while: they come in any order."""

    def __init__(self, nc: Client, dice: random.Random):
        self.nc, self.dice, self.handed_back = nc, dice, 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for consumer in (await load_deployed(self.nc, FLOW)).consumers():
                with contextlib.suppress(NotFoundError, TimeoutError):
                    await self._rob(consumer)
            await asyncio.sleep(0.05)

    async def _rob(self, consumer: Consumer) -> None:
        inbox = self.nc.new_inbox()
        sub = await self.nc.subscribe(inbox)
        ask = {"batch": self.dice.randint(1, 16), "no_wait": True}
        await self.nc.publish(subjects.next_message(consumer.stream, consumer.durable), json.dumps(ask).encode(), inbox)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                while (msg := await sub.next_msg(timeout=None)).reply:
                    await self._hand_back(msg.reply)
        await sub.unsubscribe()

    async def _hand_back(self, reply: str) -> None:
        """The first delivery late, a later one at once."""
        first = reply.split(".")[-5] == "1"
        delay = self.dice.uniform(0.01, 2) if first else 0.01
        self.handed_back += first
        await self.nc.publish(reply, b'-NAK {"delay": %d}' % int(delay * 1e9))


async def again(nc: Client, dice: random.Random, number: int) -> int:
    """Offer every message of the stream to each node that takes it once more, in any order; gives how many.

    Each `number` is an offer of its own.
    """
    js, record = nc.jetstream(), await load_deployed(nc, FLOW)
    stored = [(msg.subject, msg.data) async for msg in held(js, subjects.stream(FLOW), subjects.everything(FLOW))]
    offers = [
        (offered_on(FLOW, node.type, name, subject, number), Again(id="x", subject=subject, input=msgspec.Raw(data)))
        for subject, data in stored
        for name, node in record.nodes.items()
        if subject.rpartition(".")[0] + ".*" in node.wires
    ]
    dice.shuffle(offers)
    for port, message in offers:
        await offer(js, port, message)
    return len(offers)


def deploy_by(hands: Hands, text: str, ahead: float) -> None:
    """Deploy a flow from a machine whose clock is wrong."""
    command = [sys.executable, "-c", DEPLOY, hands.url, text]
    subprocess.run(command, env=hands.environment(ahead), check=True, timeout=60)


def work(trace: Path) -> tuple[int, int]:
    """How many pieces of work were done, and how many of them while another process did the same."""
    done: dict[tuple[str, ...], list[tuple[float, float, str]]] = defaultdict(list)
    for line in trace.read_text().splitlines():
        node, cause, process, began, ended = line.split()
        done[node, cause].append((float(began), float(ended), process))
    shared = 0
    for times in done.values():
        times.sort()
        shared += sum(b[0] < a[1] and a[2] != b[2] for a, b in pairwise(times))
    return sum(map(len, done.values())), shared


async def troubled(folder: Path, size: Size, dice: random.Random) -> tuple[dict[str, str], dict[str, Any]]:
    """What the flow gives when everything is out of order, and figures."""
    seeds = [f"s{n}" for n in range(size.seeds)]
    with start_nats(folder) as server, Hands(server.url, folder) as hands:
        async with instance(server.url, folder) as bus:
            deploy_by(hands, SLOW, dice.choice(CLOCKS))
            thief = Thief(bus.nc, dice)
            robbing = asyncio.create_task(thief.run())
            for ahead in (0.0, *dice.sample(CLOCKS, size.teams - 1)):
                hands.start(*TYPES, ahead=ahead)
            offered = 0
            for turn in range(size.rounds):
                await sow(bus.nc, dice.sample(seeds, len(seeds)) if turn < 2 else dice.sample(seeds, 5))
                await asyncio.to_thread(deploy_by, hands, dice.choice([SLOW, OTHER]), dice.choice(CLOCKS))
                offered += await again(bus.nc, dice, turn) if turn == size.rounds // 2 else 0
                await asyncio.sleep(dice.uniform(0, 2))
            await asyncio.to_thread(deploy_by, hands, SLOW, dice.choice(CLOCKS))
            await quiet(bus.nc, size.patience)
            offered += await again(bus.nc, dice, size.rounds)
            await quiet(bus.nc, size.patience)
            robbing.cancel()
            left = await leftovers(bus.nc)
            assert not left, left
            pieces, shared = work(folder / "trace")
            assert shared
            seen = {
                "handed back": thief.handed_back,
                "offered again": offered,
                "pieces of work": pieces,
                "done by two at once": shared,
            }
            return await outcome(bus.nc), seen


async def calm(folder: Path, size: Size) -> dict[str, str]:
    """What the flow gives in peace."""
    with start_nats(folder) as server, Hands(server.url, folder) as hands:
        async with instance(server.url, folder) as bus:
            await put(bus.nc, TEXT)
            hands.start(*TYPES)
            await sow(bus.nc, [f"s{n}" for n in range(size.seeds)])
            await quiet(bus.nc, size.patience)
            return await outcome(bus.nc)


async def run(folder: Path, seed: int, size: Size) -> dict[str, Any]:
    """The test; its figures. Raises AssertionError where the two differ or anything is left over."""
    started = time.monotonic()
    for name in ("troubled", "calm"):
        (folder / name).mkdir()
    found, seen = await troubled(folder / "troubled", size, random.Random(seed))
    wanted = await calm(folder / "calm", size)
    assert found == wanted, sorted(wanted.items() ^ found.items())[:5]
    return {"outputs": len(wanted), **seen, "s": time.monotonic() - started}


def main() -> None:
    """Entry point."""
    asked = figures.arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        seen = asyncio.run(run(Path(folder), asked.seed, SHORT if asked.short else FULL))
    figures.keep("clock", asked.seed, seen)


if __name__ == "__main__":
    main()
