"""When a flow has nothing left to do."""

import asyncio
import time
from collections.abc import AsyncIterator

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.flow import store
from lodestream.status import FlowStatus, NodeStatus, add_details, flow_status

SHORTEST, LONGEST, GROWTH = 0.3, 2.0, 0.1
"""Seconds between looks: longer ones the longer it takes, since the catalog counts at each."""
OUTAGE = 60.0
"""Seconds that the server may be away once it has answered: it is started again."""


async def until_idle(bus: Bus, flow: str, timeout: float) -> AsyncIterator[FlowStatus]:
    """Look at a flow until it is idle; gives every look, the idle one last.

    Idle: nothing waits or is in flight at any node, the catalog has applied all, and a second look finds the same.
    Raises LodeError, with what is left, after `timeout` seconds, or at once where only paused nodes have work.
    """
    began = time.monotonic()
    before: int | None = None
    async for now in _looks(bus, flow):
        yield now
        done, passed = is_idle(now), time.monotonic() - began
        if done and before == now.last_seq:
            return
        before = now.last_seq if done else None
        if why := _hopeless(now) or (_over(now, timeout) if passed >= timeout else ""):
            raise LodeError(why)
        await asyncio.sleep(SHORTEST if done else min(SHORTEST + GROWTH * passed, LONGEST))


async def _looks(bus: Bus, flow: str) -> AsyncIterator[FlowStatus]:
    """Looks at a flow. Raises LodeError where the first one fails, or the server has been away for too long."""
    seen: float | None = None
    while True:
        try:
            now = await flow_status(bus, await store.load_deployed(bus.nc, flow))
            await add_details(bus, [now])
        except LodeError:
            if seen is None or time.monotonic() - seen > OUTAGE:
                raise
            await asyncio.sleep(LONGEST)
            continue
        seen = time.monotonic()
        yield now


def _hopeless(flow: FlowStatus) -> str:
    """Why waiting is in vain: all that is left waits at paused nodes."""
    stuck = flow.busy and not flow.catalog_behind and all(node.paused and not node.in_flight for node in flow.busy)
    names = " ".join(node.name for node in flow.busy)
    return f"{flow.flow} is paused: {left(flow)}; let it go on: lode flow resume {flow.flow} {names}" if stuck else ""


def _over(flow: FlowStatus, timeout: float) -> str:
    return f"{flow.flow} is not idle after {timeout:g} s: {left(flow) or 'it was a moment ago'}"


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
