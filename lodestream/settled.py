"""Dead letters that time has settled: their node has begun again since, and has come past their input.

So leave the list: seeds for a flow that was deployed later, and what succeeded once a node was changed or reset. What
failed again has a newer letter in place of the old one.
"""

import asyncio
import contextlib
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from lodestream.bus import Bus
from lodestream.deadletters import Dead, settle, unresolved
from lodestream.errors import LodeError
from lodestream.flow.model import Consumer, Deployed
from lodestream.flows import deployed_flows
from lodestream.streams import ask
from lodestream.unclaimed import UNKNOWN_FLOW
from proto import subjects

EVERY, SELDOM = 1.0, 5.0
"""Seconds between looks while letters are about to be settled, and else."""


async def settle_letters(bus: Bus) -> None:
    """Take what is settled off the list; runs until cancelled."""
    settling = Settling(bus.nc)
    while True:
        more = False
        with contextlib.suppress(LodeError, nats.errors.Error, nats.js.errors.Error, TimeoutError):
            more = await settling.look(await deployed_flows(bus))
        await asyncio.sleep(EVERY if more else SELDOM)


class Settling:
    """Takes such letters off the list, and remembers what it has read."""

    def __init__(self, nc: Client):
        self._nc, self._js = nc, nc.jetstream()
        self._read: Any = None
        self._waiting: list[tuple[Dead, Consumer]] = []

    async def look(self, flows: dict[str, Deployed]) -> bool:
        """Resolve what is settled now; gives whether more may be soon. Raises LodeError and what JetStream raises."""
        info = await ask(self._nc, f"STREAM.INFO.{subjects.DEAD}", {}, may_lack=True)
        newest = info["state"]["last_seq"] if info else 0, {name: flow.at for name, flow in flows.items()}
        if newest != self._read:
            listed = await unresolved(self._js)
            self._waiting = [(dead, c) for dead in listed if (c := _anew(flows.get(dead.letter.flow), dead))]
            self._read = newest
        floors = {consumer: await self._floor(consumer) for consumer in {c for _, c in self._waiting}}
        for dead, consumer in self._waiting:
            if dead.letter.input_seq <= floors[consumer]:
                await settle(self._js, dead)
        self._waiting = [(d, c) for d, c in self._waiting if d.letter.input_seq > floors[c]]
        return bool(self._waiting)

    async def _floor(self, consumer: Consumer) -> int:
        """All messages up to this one are done."""
        info = await ask(self._nc, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}", {}, may_lack=True)
        return int(info["ack_floor"]["stream_seq"]) if info else 0


def _anew(flow: Deployed | None, dead: Dead) -> Consumer | None:
    """The consumer that gives a letter's input to its node once more: one that began after the letter was written."""
    letter = dead.letter
    for consumer in flow.consumers() if flow else ():
        gives = consumer.stream == letter.input_stream and consumer.start <= letter.input_seq and not consumer.temporary
        if gives and (letter.reason == UNKNOWN_FLOW or (consumer.node == letter.node and _began(consumer, dead))):
            return consumer
    return None


def _began(consumer: Consumer, dead: Dead) -> bool:
    return dead.at is not None and consumer.since > dead.at.isoformat(timespec="microseconds")
