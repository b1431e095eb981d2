"""When a flow has nothing left to do."""

import asyncio
from collections.abc import AsyncIterator

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.flow import store
from lodestream.status import FlowStatus, NodeStatus, add_details, flow_status

SHORTEST, LONGEST, GROWTH = 0.3, 2.0, 0.02
"""Seconds between looks: longer ones the longer it takes, since the catalog counts at each."""


async def until_idle(bus: Bus, flow: str, timeout: float) -> AsyncIterator[FlowStatus]:
    """Look at a flow until it is idle; gives every look, the idle one last.

    Idle: nothing waits or is in flight at any node, the catalog has applied all, and a second look finds the same.
    Raises LodeError, with what is left, after `timeout` seconds, or at once where only paused nodes have work.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    before: int | None = None
    while True:
        now = await flow_status(bus, await store.load_deployed(bus.nc, flow))
        await add_details(bus, [now])
        yield now
        done = is_idle(now)
        if done and before == now.last_seq:
            return
        before = now.last_seq if done else None
        if now.busy and not now.catalog_behind and all(node.paused and not node.in_flight for node in now.busy):
            names = " ".join(node.name for node in now.busy)
            raise LodeError(f"{flow} is paused: {left(now)}; let it go on: lode flow resume {flow} {names}")
        passed = loop.time() - began
        if passed >= timeout:
            raise LodeError(f"{flow} is not idle after {timeout:g} s: {left(now) or 'it was a moment ago'}")
        await asyncio.sleep(SHORTEST if done else min(SHORTEST + GROWTH * passed, LONGEST))


def is_idle(flow: FlowStatus) -> bool:
    """Whether one look finds nothing to do; the next may, because work moves between nodes while it is looked for."""
    return not flow.busy and (flow.catalog_behind == 0 or not flow.messages)


def left(flow: FlowStatus) -> str:
    """What still waits, in words; empty where nothing does."""
    said = [f"{node.name} {_load(node)}" for node in flow.busy]
    if flow.catalog_behind is None and flow.messages:
        said.append("the catalog does not read it")
    elif flow.catalog_behind:
        said.append(f"catalog {flow.catalog_behind:,} behind")
    return ", ".join(said)


def _load(node: NodeStatus) -> str:
    counts = {"waiting": node.waiting, "in flight": node.in_flight}
    said = " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"{said} (waits: {node.waits_for})" if node.waits_for else said
