"""What a power cut takes back: a NATS server's last messages, while the acks that they were made for may be kept.

So while an instance runs somebody notes every few seconds how far each node had come. Where it did not end in order,
every node begins again behind what had been reached for certain: identities refuse what is there, and the memo saves
the work. Nodes begin anew for a second reason: of a stream that lost its end the server stores other messages under
sequences that it had given out before, and would hand those to whoever had the first ones.
"""

import asyncio
import contextlib
from typing import Protocol

import msgspec
import nats.errors
from nats.aio.client import Client

from lodestream.attempts import forget_all
from lodestream.bus import Bus
from lodestream.errors import LodeError, Outage
from lodestream.flow import consumers, store
from lodestream.flow.model import Consumer
from lodestream.objects import Objects

EVERY = 5.0
"""Seconds between notes: more than the server takes to have the kernel sync what it stored (`natsconf`)."""


class Floor(msgspec.Struct):
    """How far one consumer had come."""

    since: str
    """Which start of the consumer it was."""
    seq: int
    """All up to this sequence of its stream was acked."""


Reached = dict[str, Floor]
"""By stream and durable."""


class Notes(msgspec.Struct):
    """The last two notes: when the newer is written, what the older tells of has been synced for seconds."""

    older: Reached
    newer: Reached


class Place(Protocol):
    """Where notes lie; what cannot be written leaves the last ones, which are as true as ever."""

    async def read(self) -> bytes | None:
        """The last notes, or as much as is left of them; None where the last end was in order."""

    async def write(self, data: bytes) -> None:
        """Put them in place of the last ones."""

    async def clear(self) -> None:
        """The end is in order."""


class Floors:
    """Takes the notes, and has nodes begin again after an end that was not in order."""

    def __init__(self, place: Place, objects: Objects):
        self._place, self._objects = place, objects
        self._noted = False
        self._void = False
        """Whether attempts are kept of deliveries that no longer count."""

    async def rewind(self, nc: Client) -> list[str]:
        """After an end that was not in order, have every node begin again behind what is certain; gives their names.

        For the start, before any worker runs. Raises LodeError where the server refuses.
        """
        if (notes := await self._read()) is None:
            return []
        begun = []
        for record in await store.listing(nc):
            for consumer in record.consumers():
                floor = notes.older.get(_name(consumer))
                known = floor.seq if floor and floor.since == consumer.since else 0
                await consumers.begin_again(nc, consumer, known + 1)
                begun.append(_name(consumer))
        self._void = bool(begun)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY):
                await self._forget_attempts()
        return begun

    async def keep(self, bus: Bus) -> None:
        """Note until cancelled."""
        while True:
            with contextlib.suppress(LodeError, nats.errors.Error):  # the server is away: the last note holds
                await self.note(bus.nc)
            await self._forget_attempts()
            await asyncio.sleep(EVERY)

    async def note(self, nc: Client) -> None:
        """Write down how far every node is. Raises LodeError where the server does not answer."""
        before, newer = await self._read() if self._noted else None, await _reached(nc)
        notes = Notes(before.newer if before else newer, newer)
        with contextlib.suppress(OSError):
            await self._place.write(msgspec.json.encode(notes))
            self._noted = True

    async def forget(self) -> None:
        """The end is in order: nothing needs to be begun again."""
        if self._noted:
            await self._place.clear()
            self._noted = False

    async def _forget_attempts(self) -> None:
        if self._void:
            with contextlib.suppress(Outage):  # later, then
                await forget_all(self._objects)
                self._void = False

    async def _read(self) -> Notes | None:
        """Notes of nothing where they cannot be read."""
        if (data := await self._place.read()) is None:
            return None
        try:
            return msgspec.json.decode(data, type=Notes)
        except msgspec.MsgspecError:
            return Notes({}, {})


async def _reached(nc: Client) -> Reached:
    reached = {}
    for record in await store.listing(nc):
        found = await consumers.infos(nc, record.flow)
        for consumer in record.consumers():
            if info := found.get((consumer.stream, consumer.durable)):
                reached[_name(consumer)] = Floor(*consumers.reached(info))
    return reached


def _name(consumer: Consumer) -> str:
    return f"{consumer.stream} {consumer.durable}"
