"""What status and idleness see of a flow on a real server, with nobody working on it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.flow import store
from lodestream.flow.deploy import deploy, pause
from lodestream.flow.lint import lint
from lodestream.idle import until_idle
from lodestream.local import Home, State
from lodestream.local.state import Process
from lodestream.stack import LocalStack
from lodestream.status import FlowStatus, flow_status, gather
from lodestream.streams import ask
from proto import subjects
from proto.messages import Seed, encode
from tests.support.cli import bus_with_streams

FLOW = "flow: f\nnodes:\n  seeds: {type: intake}\n  find: {type: discover, from: seeds}\n"


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """A server with flow `f` deployed: three seeds published, one of them taken in."""
    async with bus_with_streams(tmp_path, "f") as bus:
        flow, _ = lint(FLOW)
        assert flow
        await deploy(bus.nc, flow)
        for text in (b"one", b"two", b"three"):
            await bus.nc.jetstream().publish(subjects.seeds("f"), text)
        one = Seed(id="query-one", kind="query", value="one")
        await bus.nc.jetstream().publish(subjects.output("f", "intake", "seeds", "seeds", one.id), encode(one))
        yield bus


async def look(bus: Bus) -> FlowStatus:
    return await flow_status(bus, await store.load_deployed(bus.nc, "f"))


async def problems(bus: Bus, folder: Path, *processes: Process) -> list[str]:
    state = State(pid=1, since="", ready=True, processes=list(processes))
    return (await gather(bus, LocalStack(Home(folder)), state)).problems


async def test_what_waits_and_what_is_in_flight(bus: Bus) -> None:
    nodes = {node.name: (node.waiting, node.in_flight) for node in (await look(bus)).nodes}
    assert nodes == {"seeds": (3, 0), "find": (1, 0)}
    inbox = bus.nc.new_inbox()
    taken = await bus.nc.subscribe(inbox)
    await bus.nc.publish(subjects.next_message(subjects.SEEDS, "f"), b'{"batch": 2}', reply=inbox)
    first, second = [await taken.next_msg(5) for _ in range(2)]
    await bus.nc.request(first.reply)
    seeds = (await look(bus)).nodes[0]
    assert (seeds.waiting, seeds.in_flight) == (1, 1)
    await bus.nc.request(second.reply)
    assert (await look(bus)).busy[0].waiting == 1


async def test_nobody_working_is_told(bus: Bus, tmp_path: Path) -> None:
    said = await problems(bus, tmp_path)
    assert "f: no worker takes what waits at seeds; see: lode logs intake" in said
    assert "f: the catalog does not read this flow; see: lode logs catalog" in said
    await pause(bus.nc, "f", ["seeds"])
    assert not [line for line in await problems(bus, tmp_path) if "at seeds" in line]


async def test_a_full_stream_is_told_with_what_to_do(bus: Bus, tmp_path: Path) -> None:
    info = await ask(bus.nc, "STREAM.INFO.FLOW_f", {}) or {}
    await ask(bus.nc, "STREAM.UPDATE.FLOW_f", info["config"] | {"max_bytes": info["state"]["bytes"]})
    assert (await look(bus)).full
    [line] = [line for line in await problems(bus, tmp_path) if "full" in line]
    assert line.startswith("f: its stream is full (")
    assert line.endswith("nats stream edit FLOW_f --max-bytes=SIZE")


async def test_a_process_that_ends_again_and_again_is_told(bus: Bus, tmp_path: Path) -> None:
    sick = Process(name="fetch", state="waiting", restarts=3, last_exit="SIGKILL")
    assert "fetch ended 3 times, the last time by SIGKILL; see: lode logs fetch" in await problems(bus, tmp_path, sick)


async def test_status_of_one_flow_only_where_there_is_one(bus: Bus, tmp_path: Path) -> None:
    state = State(pid=1, since="")
    assert [flow.flow for flow in (await gather(bus, LocalStack(Home(tmp_path)), state, "f")).flows] == ["f"]
    with pytest.raises(LodeError, match="no flow 'g' is deployed"):
        await gather(bus, LocalStack(Home(tmp_path)), state, "g")


async def test_waiting_ends_when_the_time_is_up(bus: Bus) -> None:
    with pytest.raises(LodeError, match=r"f is not idle after 0.5 s: seeds 3 waiting, find 1 waiting, the catalog"):
        async for _ in until_idle(bus, "f", 0.5):
            pass


async def test_waiting_does_not_wait_for_what_is_paused(bus: Bus) -> None:
    await pause(bus.nc, "f")
    await bus.nc.jetstream().add_consumer("FLOW_f", durable_name=subjects.CATALOG, deliver_policy="new")
    await bus.nc.jetstream().add_consumer(subjects.DEAD, durable_name=subjects.CATALOG)
    with pytest.raises(LodeError, match=r"f is paused: .*; let it go on: lode flow resume f seeds find"):
        async for _ in until_idle(bus, "f", 60):
            pass
