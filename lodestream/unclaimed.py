"""Seeds for a flow that is not deployed: nobody's consumer takes them, so they are refused here, in words."""

import asyncio

from lodestream.bus import Bus, Delivery, Publisher, Puller
from lodestream.flows import deployed_flows
from lodestream.letters import Letters
from proto import ids, subjects

UNKNOWN_FLOW = "unknown flow"
"""The reason of such dead letters."""


async def refuse_unclaimed(bus: Bus, publisher: Publisher, node_type: str) -> None:
    """Make a dead letter of every seed that no deployed flow takes; runs until cancelled.

    The seed itself stays in its stream: a flow deployed later under that name gets it all the same.
    """

    async def handle(delivery: Delivery) -> None:
        flow = subjects.seeded_flow(delivery.subject)
        try:
            deployed = await deployed_flows(bus)
        except TimeoutError:
            await delivery.nak(1.0)
            return
        if flow in deployed:
            await delivery.ack()
            return
        there = f"deployed: {', '.join(sorted(deployed))}" if deployed else "none is deployed"
        letters = Letters(ids.token(flow), "seeds", node_type, publisher)
        await letters.bury(delivery, None, UNKNOWN_FLOW, f"no flow is called {flow!r}; {there}")

    puller = await Puller(bus, subjects.next_message(subjects.SEEDS, subjects.UNCLAIMED), handle, window=16).start()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await puller.stop()
