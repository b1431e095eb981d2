"""Forgets what a plan says, finishes what was cut short, and lifts tombstones."""

import asyncio
import contextlib
from collections.abc import Callable

import nats.errors

from lodestream.bus import Bus
from lodestream.errors import LodeError, Outage
from lodestream.forget import tombs
from lodestream.forget.owing import offer_owing
from lodestream.forget.plan import Plan, look
from lodestream.forget.purge import purge
from lodestream.forget.tombs import Forgotten, Tombstone
from lodestream.objects import Objects

ROUNDS = 5
"""How often it is looked again for what workers gave meanwhile; what comes later is swept by `keep_forgotten`."""
SWEEPS = (20.0, 120.0, 2700.0)
"""Ages, in seconds, at which a tombstone's field is swept once more: a worker may have been at that very video."""
EVERY = 10.0
"""Seconds between looks at tombstones."""
UNFINISHED = 60.0
"""Seconds after which a tombstone that says of nothing that it is gone counts as cut short."""


async def forget(bus: Bus, objects: Objects, plan: Plan, *, again: bool = False) -> None:
    """The tombstone first, then all that there is; with `again` the tombstone goes at the end.

    Cut short anywhere, it is finished by doing it again, or by housekeeping. Raises LodeError and Outage.
    """
    plan.stone.again, plan.stone.gone = again, False
    await tombs.write(objects, bus, plan.stone)
    await _clear(bus, objects, plan)
    await offer_owing(bus, objects, plan.stone)
    plan.stone.gone = True
    if again:
        await tombs.remove(objects, bus, plan.stone)
    else:
        await tombs.write(objects, bus, plan.stone)


async def lift(bus: Bus, objects: Objects, stone: Tombstone) -> None:
    """Take a tombstone away, after what it refused, which would count as known. Raises LodeError and Outage."""
    others = Forgotten(*[other async for other in tombs.standing(objects) if other.key != stone.key])
    await _clear(bus, objects, await look(bus, objects, stone, others=others), others)
    await tombs.remove(objects, bus, stone)


async def sweep(bus: Bus, objects: Objects) -> list[str]:
    """Finish what was cut short, and remove what came late; says what was found. Raises LodeError and Outage."""
    said = []
    async for stone in tombs.standing(objects):
        if not stone.gone:
            if stone.age > UNFINISHED:
                await forget(bus, objects, await look(bus, objects, stone), again=stone.again)
                said.append(f"forgot what was left of {stone.kind} {stone.ident}")
        elif stone.sweeps < len(SWEEPS) and stone.age > SWEEPS[stone.sweeps]:
            late = await look(bus, objects, stone)
            if late.found or late.objects or late.manifests:
                await _clear(bus, objects, late)
                await offer_owing(bus, objects, stone)
                said.append(f"forgot what had come late of {stone.kind} {stone.ident}")
            stone.sweeps = sum(stone.age > age for age in SWEEPS)
            await tombs.write(objects, bus, stone)
    return said


async def keep_forgotten(bus: Bus, objects: Objects, say: Callable[[str], None]) -> None:
    """Sweep while tombstones are fresh; runs until cancelled. One process of an instance calls it."""
    while True:
        with contextlib.suppress(LodeError, Outage, nats.errors.Error):  # a part is away: next time
            for line in await sweep(bus, objects):
                say(line)
        await asyncio.sleep(EVERY)


async def _clear(bus: Bus, objects: Objects, plan: Plan, others: Forgotten | None = None) -> None:
    """Purge until nothing is found."""
    for _ in range(ROUNDS):
        await purge(bus, objects, plan.lineage, plan.found, plan.objects, plan.manifests)
        plan = await look(bus, objects, plan.stone, others=others)
        if not (plan.found or plan.objects or plan.manifests):
            return
