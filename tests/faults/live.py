"""Flows of numbers on a real server: put to work, waited for, and compared by what they give in the end."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from lodestream.bus import Bus, connect
from lodestream.deadletters import Dead, unresolved
from lodestream.errors import LodeError
from lodestream.flow.deploy import Report, deploy
from lodestream.flow.lint import lint
from lodestream.flow.model import Deployed
from lodestream.flow.store import load_deployed
from lodestream.housekeeping import keep_house
from lodestream.objects import open_objects
from lodestream.streams import ensure_streams
from proto import subjects
from tests.support.live_flows import TYPES

FLOW = "live"
PATIENCE = 30.0
"""Seconds for one answer of a server whose machine is busy."""
CALM = 3
"""Looks in a row at which nothing waits before a flow counts as done."""


@asynccontextmanager
async def instance(url: str, folder: Path) -> AsyncIterator[Bus]:
    """A connection to a server that has every stream and is looked after; `folder` has its objects."""
    bus = await connect(url, patience=20)
    await ensure_streams(bus.nc)
    objects = open_objects(f"file://{folder / 'objects'}")
    house = asyncio.create_task(keep_house(bus, objects, lambda said: None))
    yield bus
    house.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await house
    await bus.close()


async def put(nc: Client, text: str, *, reset: tuple[str, ...] = ()) -> Report:
    """Deploy a file that is right."""
    flow, problems = lint(text, TYPES)
    assert flow, (problems, text)
    return await deploy(nc, flow, reset=reset)


async def sow(nc: Client, names: list[str]) -> None:
    """Publish seeds, each acked."""
    for name in names:
        await nc.request(subjects.seeds(FLOW), name.encode(), timeout=PATIENCE)


async def quiet(nc: Client, seconds: float) -> None:
    """Wait until nothing waits and nothing is in hand. Fails with what does."""
    waiting: dict[str, tuple[int | None, int | None]] = {}
    calm, end = 0, time.monotonic() + seconds
    while calm < CALM:
        assert time.monotonic() < end, f"still waiting after {seconds} s (pending, in hand): {waiting}"
        with contextlib.suppress(NotFoundError, TimeoutError, LodeError):  # a backfill ended; the machine is busy
            waiting = await _waiting(nc)
            calm = 0 if waiting else calm + 1
        await asyncio.sleep(0.2)


async def _waiting(nc: Client) -> dict[str, tuple[int | None, int | None]]:
    """By consumer, what it has not given and what was not answered; a backfill that is there at all is told."""
    record, js = await load_deployed(nc, FLOW), nc.jetstream(timeout=PATIENCE)
    infos = {c: await js.consumer_info(c.stream, c.durable) for c in record.consumers()}
    found = {c: (info.num_pending, info.num_ack_pending) for c, info in infos.items()}
    return {c.durable: counts for c, counts in found.items() if any(counts) or c.temporary}


class Told(msgspec.Struct):
    """What is read of an output."""

    recipe: str
    digest: str


async def outcome(nc: Client) -> dict[str, str]:
    """What the flow as deployed has given: the digest of each output by its subject."""
    record, found = await load_deployed(nc, FLOW), {}
    reader = await nc.jetstream(timeout=PATIENCE).subscribe(subjects.everything(FLOW), ordered_consumer=True)
    left = (await reader.consumer_info()).num_pending or 0
    left += reader.pending_msgs
    while left:
        msg = await reader.next_msg(timeout=PATIENCE)
        left = msg.metadata.num_pending
        told = msgspec.json.decode(msg.data, type=Told)
        if _counts(record, msg.subject, told.recipe):
            found[msg.subject] = told.digest
    await reader.unsubscribe()
    return found


def _counts(record: Deployed, subject: str, recipe: str) -> bool:
    """Whether an output is one of the flow as it is today."""
    address = subjects.parse(subject)
    node = record.nodes.get(address.node)
    if node is None or node.type != address.type or address.port == subjects.AGAIN:
        return False
    return address.port in TYPES[node.type].stable or recipe in node.recipes


async def leftovers(nc: Client) -> list[str]:
    """What must not be there in the end: consumers of nobody, dead letters, messages that the server gave up."""
    js, record = nc.jetstream(timeout=PATIENCE), await load_deployed(nc, FLOW)
    ours = {(c.stream, c.durable) for c in record.consumers()} | {(subjects.SEEDS, subjects.UNCLAIMED)}
    found = []
    for stream in (subjects.SEEDS, subjects.stream(FLOW)):
        durables = [info.name for info in await js.consumers_info(stream) if info.config.durable_name]
        found += [f"consumer {name}" for name in durables if (stream, name) not in ours]
    found += [f"dead letter {dead.subject}: {dead.letter.reason}" for dead in await _unresolved(js)]
    given_up = (await js.stream_info(subjects.ADVISORIES)).state.messages
    return found + [f"{given_up} messages given up"] * bool(given_up)


async def _unresolved(js: JetStreamContext) -> list[Dead]:
    """The dead letters that stay: those that are settled leave the list a moment later."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30):
            while await unresolved(js):
                await asyncio.sleep(0.5)
    return await unresolved(js)
