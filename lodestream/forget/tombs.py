"""Tombstones: one object for each thing that was forgotten, and what every worker knows of them.

The tombstone is the first thing that forgetting writes, so what was cut short is finished by whoever finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from lodestream.errors import Outage
from proto import keys, subjects

if TYPE_CHECKING:  # whoever only reads declarations need not load the bus
    from lodestream.bus import Bus
    from lodestream.objects import Objects

FORGOTTEN = "forgotten"
"""The reason of what is refused because of a tombstone."""
LOOK_AGAIN = 30.0
"""Seconds between looks for new tombstones where no hint comes."""
AWAY = 2.0
"""Seconds between looks while the object store is away."""
Kind = Literal["video", "seed", "source"]


class Tombstone(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was forgotten, and all that must not come back because of it."""

    kind: Kind
    ident: str
    at: str
    """When, ISO 8601."""
    again: bool = False
    """Whether it may be mined again, once all that there was is gone: the tombstone goes then."""
    media: list[str] = []
    """Ids of videos."""
    contents: list[str] = []
    """SHA-256 of files: the same bytes are refused from anywhere."""
    seeds: list[str] = []
    kept: list[str] = []
    """Ids of videos that a seed led to, and that stay because another seed led to them too."""
    gone: bool = False
    """Whether all that there was has been removed once."""
    sweeps: int = 0
    """How often since then it was looked for what came after."""

    @property
    def key(self) -> str:
        """Where it lies."""
        return keys.tombstone(self.kind, self.ident)

    @property
    def age(self) -> float:
        """In seconds."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.at)).total_seconds()


_decode = msgspec.json.Decoder(Tombstone).decode


async def write(objects: Objects, bus: Bus, stone: Tombstone) -> None:
    """Set it up, or what it has come to say, and tell every worker. Raises Outage."""
    await objects.put(stone.key, msgspec.json.encode(stone))
    await hint(bus)


async def remove(objects: Objects, bus: Bus, stone: Tombstone) -> None:
    """Take it away, and tell every worker. Raises Outage."""
    await objects.delete(stone.key)
    await hint(bus)


async def hint(bus: Bus) -> None:
    """Tell whoever listens that tombstones have changed."""
    await bus.nc.publish(subjects.TOMBSTONES, b"")
    await bus.nc.flush()


async def standing(objects: Objects) -> AsyncIterator[Tombstone]:
    """Every tombstone, by key. Raises Outage."""
    async for found in objects.list(keys.TOMBSTONES):
        with contextlib.suppress(KeyError):  # taken away since
            yield _decode(await objects.get(found.key))


async def find(objects: Objects, kind: Kind, ident: str) -> Tombstone | None:
    """That of one thing, if it has one. Raises Outage."""
    try:
        return _decode(await objects.get(keys.tombstone(kind, ident)))
    except KeyError:
        return None


class Forgotten:
    """What must not come back, in memory: asking it costs nothing while nothing was ever forgotten."""

    def __init__(self, *stones: Tombstone) -> None:
        self._sizes: dict[str, int] = {}
        self.stones: dict[str, Tombstone] = {}
        """By key; where there are none, nothing need be asked."""
        self._set({stone.key: stone for stone in stones})

    def names(self, ident: str) -> bool:
        """Whether this is the id of a video or a seed that was forgotten."""
        return ident in self._ids

    @property
    def idents(self) -> frozenset[str]:
        """The ids of all videos and seeds that were forgotten."""
        return self._ids

    def holds(self, sha256: str) -> bool:
        """Whether these are the bytes of something that was forgotten."""
        return sha256 in self._contents

    def blocks(self, message: Any) -> bool:
        """Whether a message is about something that was forgotten."""
        return (
            message.id in self._ids
            or getattr(message, "media_id", None) in self._ids
            or getattr(message, "sha256", None) in self._contents
            or getattr(message, "source", None) in self._sources
        )

    async def read(self, objects: Objects) -> None:
        """Read what is new, drop what was taken away. Raises Outage."""
        sizes = {found.key: found.size async for found in objects.list(keys.TOMBSTONES)}
        stones: dict[str, Tombstone] = {}
        for key, size in sizes.items():
            if self._sizes.get(key) == size:
                stones[key] = self.stones[key]
                continue
            with contextlib.suppress(KeyError):  # taken away since
                stones[key] = _decode(await objects.get(key))
        self._sizes = {key: size for key, size in sizes.items() if key in stones}
        self._set(stones)

    async def follow(self, bus: Bus, objects: Objects, ready: Callable[[], object]) -> None:
        """Keep up with what is forgotten, until cancelled; calls `ready` once all that was so far is known."""
        changed = asyncio.Event()

        async def hinted(_: Any) -> None:
            changed.set()

        await bus.nc.subscribe(subjects.TOMBSTONES, cb=hinted)
        bus.on_lost.append(changed.set)
        while True:
            changed.clear()
            try:
                await self.read(objects)
                ready()
                wait = LOOK_AGAIN
            except Outage:
                wait = AWAY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await changed.wait()

    def _set(self, stones: dict[str, Tombstone]) -> None:
        self.stones = stones
        named = ((*s.media, *s.seeds, *[s.ident] * (s.kind != "source")) for s in stones.values())
        self._ids = frozenset(ident for idents in named for ident in idents)
        self._contents = {sha256 for stone in stones.values() for sha256 in stone.contents} - {""}
        self._sources = {stone.ident for stone in stones.values() if stone.kind == "source"} - {""}
