"""A worker under a debugger, on a terminal: what it holds stays held, and it makes no dead letters."""

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from nats.js.api import ConsumerConfig

from lodestream.bus import Bus, connect
from lodestream.debug.beside import Beside, FarLeases
from lodestream.flow.model import Deployed, DeployedNode
from lodestream.flow.model import encode as encode_flow
from lodestream.leases import NatsLeases
from lodestream.node import Node
from lodestream.process import NATS_URL, OBJECTS, WORK
from lodestream.streams import BASE, ensure_stream, ensure_streams
from proto import subjects
from proto.messages import Seed, encode
from tests.support.cli import flow_stream, read_terminal
from tests.support.debugged import PROBE
from tests.support.engine import eventually
from tests.support.servers import start_nats

SEEDS = subjects.wire("t", "intake", "seeds", "seeds")
ACK_WAIT = 2.0
"""Seconds: shorter than a person sits in a debugger."""


@asynccontextmanager
async def flow(url: str) -> AsyncIterator[Bus]:
    """A deployed flow with one node, whose consumer wants a quick answer."""
    bus = await connect(url, patience=10)
    await ensure_streams(bus.nc)
    await ensure_stream(bus.nc, BASE | flow_stream("t"))
    node = DeployedNode(type="discover", slot=1, since="1", wires={SEEDS: [""]}, recipes=[_recipe(PROBE)])
    await bus.nc.request(subjects.flow_key("t"), encode_flow(Deployed(flow="t", text="", at="", nodes={"find": node})))
    config = ConsumerConfig(durable_name="discover-1", filter_subject=SEEDS, ack_wait=ACK_WAIT, max_deliver=6)
    await bus.nc.jetstream().add_consumer(subjects.stream("t"), config)
    try:
        yield bus
    finally:
        await bus.close()


def _recipe(node: Node) -> str:
    return node.recipe(node.settings(), "")


async def offer(bus: Bus, ident: str, value: str) -> None:
    seed = Seed(id=ident, kind="query", value=value)
    await bus.nc.jetstream().publish(subjects.output("t", "intake", "seeds", "seeds", ident), encode(seed))


class Terminal:
    """A person at a debugged worker."""

    def __init__(self, end: int, process: subprocess.Popen[bytes]):
        self.end, self.process, self.seen = end, process, ""

    async def reads(self, text: str) -> str:
        """All that was shown until then."""
        before = len(self.seen)

        def enough(data: bytes) -> bool:
            return text in (self.seen + data.decode(errors="replace"))[before:]

        data = await asyncio.to_thread(read_terminal, self.end, enough)
        self.seen += data.decode(errors="replace")
        assert text in self.seen[before:], self.seen
        return self.seen[before:]

    def types(self, line: str) -> None:
        os.write(self.end, line.encode() + b"\n")


@contextmanager
def debugged(url: str, folder: Path, **environment: str) -> Iterator[Terminal]:
    """A debugged worker on a terminal."""
    ours, theirs = pty.openpty()
    env = os.environ | {NATS_URL: url, OBJECTS: f"file://{folder}/objects", WORK: str(folder / "work"), **environment}
    command = [sys.executable, "-m", "tests.support.debugged", "discover"]
    process = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


async def given(bus: Bus) -> dict[str, int]:
    info = await bus.nc.jetstream().stream_info(subjects.stream("t"), subjects_filter="flow.t.discover.>")
    return info.state.subjects or {}


async def held(bus: Bus) -> tuple[int, int, int]:
    """Messages in hand, deliveries beyond the first, messages not delivered yet."""
    info = await bus.nc.jetstream().consumer_info(subjects.stream("t"), "discover-1")
    return info.num_ack_pending or 0, info.num_redelivered or 0, info.num_pending or 0


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with start_nats(tmp_path) as server:
        yield server.url


async def test_a_message_is_held_for_as_long_as_somebody_looks(url: str, tmp_path: Path) -> None:
    async with flow(url) as bus:
        for ident, value in (("a", "stop"), ("b", "go")):
            await offer(bus, ident, value)
        with debugged(url, tmp_path) as terminal:
            await terminal.reads("(Pdb) ")
            await asyncio.sleep(3 * ACK_WAIT)
            assert await held(bus) == (1, 0, 1)
            terminal.types("seed.value")
            await terminal.reads("'stop'")
            terminal.types("c")
            shown = await terminal.reads("b-found")
            assert "a-found" in shown
            await eventually(lambda: _is(held(bus), (0, 0, 0)))
            assert len(await given(bus)) == 2


async def test_a_failure_is_shown_and_the_person_chooses(url: str, tmp_path: Path) -> None:
    async with flow(url) as bus:
        await offer(bus, "a", "fail")
        with debugged(url, tmp_path) as terminal:
            shown = await terminal.reads("[q]uit? ")
            assert "RuntimeError: cannot work on a" in shown
            assert "debugged.py" in shown
            terminal.types("r")
            await terminal.reads("[q]uit? ")
            assert await held(bus) == (1, 0, 0)
            terminal.types("p")
            await terminal.reads("(Pdb) ")
            terminal.types("seed.id")
            await terminal.reads("'a'")
            terminal.types("q")
            await terminal.reads("[q]uit? ")
            terminal.types("q")
            await terminal.reads("handed back")
            assert await asyncio.to_thread(terminal.process.wait, 30) == 0
        assert (await held(bus))[0] + (await held(bus))[2] == 1
        assert (await bus.nc.jetstream().stream_info(subjects.DEAD)).state.messages == 0


async def test_leaving_the_debugger_hands_the_message_back(url: str, tmp_path: Path) -> None:
    async with flow(url) as bus:
        await offer(bus, "a", "stop")
        with debugged(url, tmp_path) as terminal:
            await terminal.reads("(Pdb) ")
            terminal.types("q")
            await terminal.reads("handed back")
            assert await asyncio.to_thread(terminal.process.wait, 30) == 0
        with debugged(url, tmp_path) as terminal:
            await terminal.reads("delivery 2")
            await terminal.reads("(Pdb) ")
            terminal.types("c")
            await terminal.reads("a-found")


async def test_leases_are_held_in_the_other_loop(url: str) -> None:
    bus = await connect(url, patience=10)
    await ensure_streams(bus.nc)
    somebody = NatsLeases(bus)
    with Beside() as beside:
        other = await beside.call(connect(url, patience=10))
        far = FarLeases(beside, NatsLeases(other))
        async with far.hold("media", "web-1") as hold, far.slot("host", "example", 1):
            assert not hold.waited
            assert await hold.confirm()
            assert await somebody.take(subjects.lease("media", "web-1")) is None
            assert await somebody.take(subjects.lease("host", "example-0")) is None
        assert await somebody.take(subjects.lease("media", "web-1"))
        with pytest.raises(ZeroDivisionError):
            async with far.hold("media", "web-2"):
                raise ZeroDivisionError
        assert await somebody.take(subjects.lease("media", "web-2"))
        await beside.call(other.close())
    await somebody.close()
    await bus.close()


async def _is(asked: object, wanted: object) -> bool:
    return await asked == wanted  # type: ignore[misc]
