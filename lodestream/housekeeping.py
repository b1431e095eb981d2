"""What somebody must do for flows while they run, and only the operator may: one process of an instance calls it."""

import asyncio
import contextlib

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.flow.deploy import finish_backfills
from lodestream.flow.model import Deployed
from lodestream.flows import deployed_flows, watch_flows

EVERY = 2.0
"""Seconds between looks at backfills, while there are any."""


async def keep_house(bus: Bus) -> None:
    """Remove backfill consumers that have given everything; runs until cancelled."""

    async def apply(flows: dict[str, Deployed]) -> None:
        while any(node.backfills for flow in flows.values() for node in flow.nodes.values()):
            with contextlib.suppress(LodeError):  # the server is away, or somebody changes the flow: next time
                await finish_backfills(bus.nc)
            await asyncio.sleep(EVERY)
            flows = await deployed_flows(bus)

    await watch_flows(bus, apply)
