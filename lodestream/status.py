"""How an instance stands: what waits at each node, who works on it, what the catalog knows, what is in the way."""

import asyncio
import shutil
import time
from contextlib import suppress
from typing import Any

import msgspec

from lodestream.bus import Bus
from lodestream.catalog import Ways, sql
from lodestream.census import Tally, tallies
from lodestream.errors import LodeError
from lodestream.flow import store
from lodestream.flow.model import Deployed
from lodestream.local.state import Process, State
from lodestream.local.triton import TRITON, lacks
from lodestream.scaling.keep import last_decisions
from lodestream.stack import LocalStack, Stack
from lodestream.stages import Stage, stages
from lodestream.streams import ask
from lodestream.tally import Trouble
from lodestream.yields import yields
from proto import subjects
from proto.messages import Scaled

FULL = 0.98
"""Share of its bytes from which on a stream counts as full."""
CATALOG_SILENT = f"the catalog does not answer, so nothing is counted here; see: lode logs {subjects.CATALOG}"
LITTLE_ROOM = 2 << 30
"""Bytes left on the disk under which that is said."""
COUNTS = "select flow, node, out, rejected, dead from progress"
PATIENCE = 3.0
"""Seconds that the catalog may take to count."""


class NodeStatus(msgspec.Struct, kw_only=True):
    """One node of a deployed flow."""

    name: str
    type: str
    paused: bool
    waiting: int = 0
    """Messages not yet handed to a worker."""
    in_flight: int = 0
    """Messages handed to a worker and not yet answered; those that wait for another attempt included."""
    workers: int = 0
    given: int | None = None
    """Outputs in the catalog, the rejected aside; None where the catalog does not say."""
    rejected: int | None = None
    dead: int | None = None
    known: int = 0
    """Outputs skipped because they were known, since its workers took it up."""
    remembered: int = 0
    """Inputs answered from the memo, since its workers took it up."""
    waits_for: str = ""
    """The part that is away or full, in words."""
    troubles: list[str] = []
    """Hosts that keep failing and are left alone for a while, in words."""
    live: dict[str, dict[str, Any]] = {}
    """What is in hand, by entity, and how far it is."""


class FlowStatus(msgspec.Struct, kw_only=True):
    """One deployed flow."""

    flow: str
    at: str
    """When it was last changed, ISO 8601."""
    nodes: list[NodeStatus]
    messages: int
    """Messages in its stream."""
    bytes: int
    max_bytes: int
    """Bytes that its stream may have; -1 where nothing but the disk bounds it."""
    last_seq: int
    catalog_behind: int | None
    """Messages and dead letters that the catalog has not applied; None where it does not read them."""
    new_videos: list[int] | None = None
    """New videos in each of the last 12 hours, this one last; None where the catalog does not say."""
    dry: list[str] = []
    """Sources and seeds that have run dry, in words."""
    stages: list[Stage] = []
    """What became of frames at the nodes that look at them; nothing where the catalog does not say."""

    @property
    def full(self) -> bool:
        """Whether its stream takes nothing more, or soon will not."""
        return 0 < self.max_bytes * FULL < self.bytes

    @property
    def busy(self) -> list[NodeStatus]:
        """The nodes that have something waiting or in flight."""
        return [node for node in self.nodes if node.waiting or node.in_flight]


class Disk(msgspec.Struct):
    """The file system that the instance lies on, in bytes."""

    free: int
    total: int


class Status(msgspec.Struct, kw_only=True):
    """A running instance."""

    home: str
    since: str
    nats_url: str
    nats_answers: bool = True
    """Whether the server answers; where it does not, nothing is known of flows."""
    ready: bool
    processes: list[Process]
    flows: list[FlowStatus]
    disk: Disk | None
    """None where it is another machine's."""
    scaling: list[Scaled] = []
    """The last change of the number of workers of each service within the hour, the newest first."""
    problems: list[str]
    """What is in the way, and what to do about it."""


async def gather(bus: Bus, stack: Stack, state: State, only: str = "") -> Status:
    """The whole picture; of one flow where `only` names it. Raises LodeError where there is no such flow."""
    records = [await store.load_deployed(bus.nc, only)] if only else await store.listing(bus.nc)
    flows = [await flow_status(bus, record) for record in records]
    counted, *_ = await asyncio.gather(add_details(bus, flows), _add_yields(bus, flows), _add_stages(bus, flows))
    disk = _disk(stack)
    return Status(
        home=stack.name,
        since=state.since,
        nats_url=state.nats_url,
        ready=state.ready,
        processes=state.processes,
        flows=flows,
        disk=disk,
        scaling=await last_decisions(bus.nc),
        problems=[
            *_process_problems(state),
            *([] if counted else [CATALOG_SILENT]),
            *(p for flow in flows for p in _flow_problems(flow)),
            *triton_problems(stack, state, flows),
            *_disk_problems(disk),
        ],
    )


def without_server(stack: Stack, state: State) -> Status:
    """What can be said of an instance whose server does not answer."""
    disk = _disk(stack)
    waits = f"NATS does not answer at {state.nats_url}: everything waits for it; see: lode logs nats"
    return Status(
        home=stack.name,
        since=state.since,
        nats_url=state.nats_url,
        nats_answers=False,
        ready=state.ready,
        processes=state.processes,
        flows=[],
        disk=disk,
        problems=[waits, *_process_problems(state), *_disk_problems(disk)],
    )


def _disk(stack: Stack) -> Disk | None:
    if stack.disk is None:
        return None
    usage = shutil.disk_usage(stack.disk)
    return Disk(usage.free, usage.total)


async def flow_status(bus: Bus, flow: Deployed) -> FlowStatus:
    """What waits and is in flight at each node of one flow, in the order of its file.

    Seeds are looked at before the flow's own stream: work moves downstream meanwhile, and must not be missed.
    """
    name = subjects.stream(flow.flow)
    found = {**await _consumers(bus, subjects.SEEDS), **await _consumers(bus, name)}
    dead = await _consumers(bus, subjects.DEAD)
    stream = await ask(bus.nc, f"STREAM.INFO.{name}", {}) or {}
    nodes = {n: NodeStatus(name=n, type=node.type, paused=node.paused) for n, node in flow.nodes.items()}
    for consumer in flow.consumers():
        waiting, in_flight = found.get((consumer.stream, consumer.durable), (0, 0))
        nodes[consumer.node].waiting += waiting
        nodes[consumer.node].in_flight += in_flight
    behind = found.get((name, subjects.CATALOG)), dead.get((subjects.DEAD, subjects.CATALOG))
    return FlowStatus(
        flow=flow.flow,
        at=flow.at,
        nodes=list(nodes.values()),
        messages=stream["state"]["messages"],
        bytes=stream["state"]["bytes"],
        max_bytes=stream["config"]["max_bytes"],
        last_seq=stream["state"]["last_seq"],
        catalog_behind=sum(map(sum, filter(None, behind))) if all(behind) else None,
    )


async def _consumers(bus: Bus, stream: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Messages waiting and in flight at every consumer of a stream."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    while True:
        page = await ask(bus.nc, f"CONSUMER.LIST.{stream}", {"offset": len(found)}) or {}
        for info in page["consumers"]:
            found[stream, info["name"]] = (info["num_pending"], info["num_ack_pending"])
        if not page["consumers"] or len(found) >= page["total"]:
            return found


async def add_details(bus: Bus, flows: list[FlowStatus]) -> bool:
    """What the workers and the catalog say of the nodes, written into them; whether the catalog said it."""
    _, counted = await asyncio.gather(_add_workers(bus, flows), _add_counts(bus, flows))
    return counted


async def _add_yields(bus: Bus, flows: list[FlowStatus]) -> None:
    """Nothing where the catalog does not answer."""
    with suppress(LodeError):
        found = await yields(Ways(bus.nc), PATIENCE)
        for flow in flows:
            flow.new_videos, flow.dry = found[flow.flow]


async def _add_stages(bus: Bus, flows: list[FlowStatus]) -> None:
    """Nothing where the catalog does not answer."""
    with suppress(LodeError):
        found = await stages(Ways(bus.nc), PATIENCE)
        for flow in flows:
            flow.stages = found[flow.flow]


async def _add_counts(bus: Bus, flows: list[FlowStatus]) -> bool:
    """False where the catalog does not answer: it may be starting, and status is asked for when things are bad."""
    try:
        answer = await sql(COUNTS, Ways(bus.nc), seconds=PATIENCE)
    except LodeError:
        return False
    counts = {(flow, node): rest for flow, node, *rest in answer.rows}
    for flow in flows:
        for node in flow.nodes:
            node.given, node.rejected, node.dead = counts.get((flow.flow, node.name), (0, 0, 0))
    return True


async def _add_workers(bus: Bus, flows: list[FlowStatus]) -> None:
    """What the workers say of themselves, written into the nodes that they serve."""
    served = await tallies(bus)
    for flow in flows:
        for node in flow.nodes:
            mine = served.get((flow.flow, node.name), {})
            said = [tally for each in mine.values() for tally in each]
            node.workers = len(mine)
            node.known = sum(tally.known for tally in said)
            node.remembered = sum(tally.remembered for tally in said)
            if node.in_flight:  # a worker publishes for several flows, and waits for all of them
                node.waits_for = next((tally.waits_for for tally in said if tally.waits_for), "")
                node.troubles = _troubles(said)
            node.live = {entity: fields for tally in said for entity, fields in tally.live.items()}


def _troubles(said: list[Tally]) -> list[str]:
    """Each host once, as the worker has it that will try first."""
    found: dict[str, Trouble] = {}
    for name, trouble in (item for tally in said for item in tally.troubles.items()):
        found[name] = min(trouble, found.get(name, trouble), key=lambda of: of.next_try)
    return [f"{name} {found[name].words(time.time())}" for name in sorted(found)]


def _process_problems(state: State) -> list[str]:
    return [
        f"{p.name} ended {p.restarts} times, the last time by {p.last_exit}; see: lode logs {p.name}"
        for p in state.processes
        if p.state == "waiting"
    ]


def _flow_problems(flow: FlowStatus) -> list[str]:
    said = []
    if flow.full:
        name, used = subjects.stream(flow.flow), f"{flow.bytes:,} of {flow.max_bytes:,} bytes"
        said.append(f"{flow.flow}: its stream is full ({used}), nodes wait; nats stream edit {name} --max-bytes=SIZE")
    for node in flow.nodes:
        said += [f"{flow.flow}: {node.name}: {trouble}" for trouble in node.troubles]
        if node.waits_for and not flow.full:
            said.append(f"{flow.flow}: {node.name} waits: {node.waits_for}")
        if node.waiting and not node.workers and not node.paused:
            said.append(f"{flow.flow}: no worker takes what waits at {node.name}; see: lode logs {node.type}")
    if flow.catalog_behind is None and flow.messages:
        said.append(f"{flow.flow}: the catalog does not read this flow; see: lode logs {subjects.CATALOG}")
    return said


def triton_problems(stack: Stack, state: State, flows: list[FlowStatus]) -> list[str]:
    """What keeps Triton from running, where something waits for it."""
    waits = any(TRITON.title() in node.waits_for for flow in flows for node in flow.nodes)
    runs = any(process.name == TRITON for process in state.processes)
    return [lacks()] if waits and not runs and isinstance(stack, LocalStack) else []


def _disk_problems(disk: Disk | None) -> list[str]:
    if disk is None or disk.free >= LITTLE_ROOM:
        return []
    return [f"only {disk.free / 1e9:.1f} GB left on the disk of this instance; make room"]
