"""Dead letters that time has settled leave the list; a retry that fails comes back with all that was tried."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lodestream import deadletters
from lodestream.bus import Bus, connect
from lodestream.deadletters import Dead, unresolved
from lodestream.errors import LodeError, Retry
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.flows import deployed_flows
from lodestream.settled import Settling
from lodestream.streams import ensure_streams
from lodestream.unclaimed import UNKNOWN_FLOW
from proto import subjects
from proto.messages import Candidate, DeadLetter, encode
from tests.support.engine import bench, candidate, declare, eventually
from tests.support.live_flows import TYPES
from tests.support.servers import start_nats

TEXT = "flow: live\nnodes:\n  s: {type: start}\n  find: {type: find, from: s}\n  g: {type: get, from: find}\n"


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """A connection to a server with every stream."""
    with start_nats(tmp_path) as server:
        made = await connect(server.url, patience=10)
        await ensure_streams(made.nc)
        yield made
        await made.close()


async def put(bus: Bus, text: str = TEXT, reset: tuple[str, ...] = ()) -> None:
    """Deploy a file that is right."""
    flow, problems = lint(text, TYPES)
    assert flow, problems
    await deploy(bus.nc, flow, reset=reset)


async def bury(bus: Bus, node: str, kind: str, stream: str, seq: int, reason: str = "timed out") -> None:
    """Publish a dead letter about a message of a stream."""
    said = {"reason": reason, "input_stream": stream, "input_seq": seq, "node_type": kind, "node": node}
    letter = DeadLetter(id=f"x{seq}", entity=f"x{seq}", flow="live", at="", **said)  # type: ignore[arg-type]
    await bus.nc.request(subjects.dead("live", kind, node, f"x{seq}"), encode(letter))


async def listed(bus: Bus) -> list[str]:
    """What is dead."""
    return [dead.letter.entity for dead in await unresolved(bus.nc.jetstream())]


async def look(bus: Bus, settling: Settling) -> bool:
    """One look."""
    return await settling.look(await deployed_flows(bus))


async def take(bus: Bus, stream: str, durable: str, count: int) -> None:
    """Take and ack messages, as a worker does."""
    pull = await bus.nc.jetstream().pull_subscribe_bind(durable, stream)
    for msg in await pull.fetch(count, timeout=10):
        await msg.ack_sync()


async def test_seeds_of_a_flow_that_is_deployed_later_leave_when_they_are_taken(bus: Bus) -> None:
    for n in (1, 2):
        await bus.nc.request(subjects.seeds("live"), b"%d" % n)
        await bury(bus, "seeds", "start", subjects.SEEDS, n, UNKNOWN_FLOW)
    settling = Settling(bus.nc)
    assert not await look(bus, settling)
    await put(bus)
    assert await look(bus, settling)
    assert await listed(bus) == ["x1", "x2"]
    await take(bus, subjects.SEEDS, "live", 1)
    assert await look(bus, settling)
    assert await listed(bus) == ["x2"]
    await take(bus, subjects.SEEDS, "live", 1)
    assert not await look(bus, settling)
    assert await listed(bus) == []


async def test_what_is_done_after_a_reset_leaves_and_what_failed_since_stays(bus: Bus) -> None:
    await put(bus)
    message = encode(Candidate(id="c", url="", source="", seed="s"))
    for n in range(3):
        await bus.nc.request(subjects.output("live", "find", "find", "candidate", f"c{n}"), message)
    await take(bus, "FLOW_live", "get-1", 3)
    for seq in (1, 2):
        await bury(bus, "g", "get", "FLOW_live", seq)
    await bury(bus, "gone", "get", "FLOW_live", 3)
    settling = Settling(bus.nc)
    assert not await look(bus, settling)
    await put(bus, reset=("g",))
    await bury(bus, "g", "get", "FLOW_live", 2, "failed since")
    assert await look(bus, settling)
    await take(bus, "FLOW_live", "get-2", 3)
    assert not await look(bus, settling)
    assert await listed(bus) == ["x3", "x2"]


async def test_nothing_is_retried_that_nobody_would_take(bus: Bus) -> None:
    await put(bus)
    await bury(bus, "gone", "get", "FLOW_live", 1)
    await bury(bus, "g", "get", "FLOW_live", 2)
    gone, there = await unresolved(bus.nc.jetstream())
    flows = await deployed_flows(bus)
    deadletters.require_taker(flows, there)
    with pytest.raises(LodeError, match="x1: flow live has no node gone of type get any more; drop it"):
        deadletters.require_taker(flows, gone)
    with pytest.raises(LodeError, match="x2: no flow 'live' is deployed; deploy it"):
        deadletters.require_taker({}, there)


async def test_a_retry_that_fails_comes_back_with_its_history_and_one_that_succeeds_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lodestream.runner.ATTEMPTS", 2)
    broken = ["first", "second"]

    async def fail_twice(message, job):  # type: ignore[no-untyped-def]
        if broken:
            raise Retry(broken[0], after=0.01)
        return
        yield

    async def dead() -> list[Dead]:
        return await unresolved(made.bus.nc.jetstream(), "t")

    async def is_dead() -> bool:
        return bool(await dead())

    async def is_done() -> bool:
        return not await made.pending()

    with start_nats(tmp_path) as server:
        async with bench(server.url, tmp_path) as made:
            await made.run(declare(fail_twice))
            await made.offer(candidate(1))
            await eventually(is_dead, 30)
            for errors in (["first"] * 2, ["first"] * 2 + ["second"] * 2):
                [letter] = await dead()
                assert [attempt.error for attempt in letter.letter.attempts] == [f"Retry: {e}" for e in errors]
                assert all(attempt.worker for attempt in letter.letter.attempts)
                broken.pop(0)
                assert await deadletters.retry(made.bus.nc.jetstream(), letter)
                await eventually(is_dead if broken else is_done, 30)
            await asyncio.sleep(0.2)
            assert await dead() == []
