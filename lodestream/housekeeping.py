"""What somebody must do for flows while they run, and only the operator may: one process of an instance calls it."""

import asyncio
import contextlib
from collections.abc import Callable

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.flow.deploy import finish_backfills, mend
from lodestream.flow.model import Deployed
from lodestream.flows import deployed_flows, watch_flows

EVERY = 2.0
"""Seconds between looks at backfills, while there are any."""


async def keep_house(bus: Bus, say: Callable[[str], None]) -> None:
    """Mend what deploys left half done, then remove backfill consumers that have given everything.

    Tells `say` what was mended and which flows wait for a person; runs until cancelled.
    """
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
