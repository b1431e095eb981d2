"""What somebody must do for flows while they run, and only the operator may: one process of an instance calls it."""

import asyncio
import contextlib
from collections.abc import Callable

from lodestream.bus import Bus
from lodestream.clearing import Clearer
from lodestream.errors import LodeError
from lodestream.flow.deploy import finish_backfills, mend
from lodestream.flow.model import Deployed
from lodestream.flows import deployed_flows, watch_flows
from lodestream.forget.work import keep_forgotten
from lodestream.healing import Healer
from lodestream.objects import Objects
from lodestream.settled import settle_letters

EVERY = 2.0
"""Seconds between looks at backfills, while there are any."""


async def keep_house(bus: Bus, objects: Objects, say: Callable[[str], None]) -> None:
    """Mend what deploys left half done, remove backfill consumers that have given everything; see to objects.

    Tells `say` what was mended and which flows wait for a person; runs until cancelled.
    """
    clearer = Clearer(bus, objects, say)
    async with asyncio.TaskGroup() as group:
        group.create_task(settle_letters(bus))
        group.create_task(keep_forgotten(bus, objects, say))
        for work in (_tend_flows(bus, say), clearer.run(), Healer(bus, objects, say, clearer.look_at).run()):
            group.create_task(work)


async def _tend_flows(bus: Bus, say: Callable[[str], None]) -> None:
    with contextlib.suppress(LodeError):  # somebody deploys at this moment, and that mends as well
        for line in await mend(bus.nc):
            say(line)

    async def apply(flows: dict[str, Deployed]) -> None:
        while any(node.backfills for flow in flows.values() for node in flow.nodes.values()):
            with contextlib.suppress(LodeError):  # the server is away, or somebody changes the flow: next time
                await finish_backfills(bus.nc)
            await asyncio.sleep(EVERY)
            flows = await deployed_flows(bus)

    await watch_flows(bus, apply)
