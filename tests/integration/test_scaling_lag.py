"""On a real server with real rights: what the scaler sees of each service, what it has done, and what it tells."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lodestream.bus import Bus, connect
from lodestream.errors import LodeError
from lodestream.flow.deploy import deploy, pause, resume
from lodestream.flow.lint import lint
from lodestream.registry import node_types
from lodestream.rights import OPERATOR, SCALER, accounts, users
from lodestream.scaling.keep import keep_scaled, last_decisions
from lodestream.scaling.lag import Lag, lags
from lodestream.scaling.policy import Limits
from lodestream.streams import ensure_streams
from proto import subjects
from proto.messages import Seed, encode
from tests.support.engine import eventually
from tests.support.servers import start_nats

FLOW = "flow: {}\nnodes:\n  seeds: {{type: intake}}\n  find: {{type: discover, from: seeds}}\n"
TOLD = 60.0
"""Seconds until what must be told has been."""


@pytest.fixture
async def buses(tmp_path: Path) -> AsyncIterator[tuple[Bus, Bus]]:
    """Operator and scaler of a server with flows `f` and `g`, nobody working on them."""
    passwords = {name: f"the-password-of-{name}" for name in users(node_types())}
    with start_nats(tmp_path, accounts(node_types(), passwords)) as server:
        operator, scaler = [await connect(server.url, u, passwords[u], patience=20) for u in (OPERATOR, SCALER)]
        await ensure_streams(operator.nc)
        for name in ("f", "g"):
            flow, problems = lint(FLOW.format(name))
            assert flow, problems
            await deploy(operator.nc, flow)
        yield operator, scaler
        await scaler.close()
        await operator.close()


async def publish(bus: Bus, flow: str, seeds: int, taken_in: int) -> None:
    """Seeds as people publish them, and as intake gives them."""
    js = bus.nc.jetstream()
    for _ in range(seeds):
        await js.publish(subjects.seeds(flow), b"one")
    for number in range(taken_in):
        seed = Seed(id=f"query-{number}", kind="query", value=str(number))
        await js.publish(subjects.output(flow, "intake", "seeds", "seeds", seed.id), encode(seed))


async def take(bus: Bus, stream: str, durable: str, count: int) -> list[str]:
    """Take messages; where each is answered."""
    inbox = bus.nc.new_inbox()
    taken = await bus.nc.subscribe(inbox)
    await bus.nc.publish(subjects.next_message(stream, durable), b'{"batch": %d}' % count, reply=inbox)
    return [(await taken.next_msg(10)).reply for _ in range(count)]


async def test_lag_is_of_all_flows_by_service(buses: tuple[Bus, Bus]) -> None:
    operator, scaler = buses
    await publish(operator, "f", 3, 4)
    await publish(operator, "g", 2, 1)
    await operator.nc.jetstream().publish(subjects.seeds("nobody"), b"of a flow that is not deployed")
    assert await lags(scaler.nc) == {"intake": Lag(waiting=5), "discover": Lag(waiting=5)}
    first, *_ = await take(operator, subjects.stream("f"), "discover-1", 3)
    await operator.nc.request(first)
    assert (await lags(scaler.nc))["discover"] == Lag(waiting=2, in_flight=2, finished=1)


async def test_what_waits_for_another_attempt_is_not_in_flight(buses: tuple[Bus, Bus]) -> None:
    operator, scaler = buses
    await publish(operator, "f", 0, 1)
    [first] = await take(operator, subjects.stream("f"), "discover-1", 1)
    await operator.nc.publish(first, b'-NAK {"delay": 100000000}')
    [second] = await take(operator, subjects.stream("f"), "discover-1", 1)
    await operator.nc.publish(second, b'-NAK {"delay": 600000000000}')
    await operator.nc.flush()
    assert (await lags(scaler.nc))["discover"].in_flight == 0


async def test_what_is_paused_does_not_count(buses: tuple[Bus, Bus]) -> None:
    operator, scaler = buses
    await publish(operator, "f", 1, 4)
    await publish(operator, "g", 0, 1)
    await pause(operator.nc, "f", ["find"])
    assert (await lags(scaler.nc))["discover"].waiting == 1
    await resume(operator.nc, "f", ["find"])

    async def counts_again() -> bool:
        return (await lags(scaler.nc))["discover"].waiting == 5

    await eventually(counts_again, TOLD)


class Crowd:
    """Hands that only count."""

    def __init__(self, **workers: int) -> None:
        self.workers, self.refuses = workers, ""

    async def counts(self) -> dict[str, int]:
        """See Hands."""
        return self.workers

    async def scale(self, service: str, workers: int) -> None:
        """See Hands."""
        if self.refuses:
            raise LodeError(self.refuses)
        self.workers[service] = workers


async def test_a_backlog_is_answered_and_told(buses: tuple[Bus, Bus]) -> None:
    operator, scaler = buses
    crowd, said = Crowd(intake=1, discover=1), list[str]()
    keeping = asyncio.create_task(keep_scaled(scaler, {"discover": Limits(1, 2)}, crowd, said.append))
    try:
        await publish(operator, "f", 50, 200)

        async def told() -> bool:
            return bool(await last_decisions(operator.nc))

        await eventually(told, TOLD)
        [scaled] = await last_decisions(operator.nc)
        assert (scaled.id, scaled.before, scaled.after, scaled.waiting) == ("discover", 1, 2, 200)
        assert scaled.reason.startswith("200 wait, and not one was finished")
        assert crowd.workers == {"intake": 1, "discover": 2}
        assert said == []
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_hands_that_refuse_are_told_and_asked_again(buses: tuple[Bus, Bus]) -> None:
    operator, scaler = buses
    crowd, said = Crowd(discover=1), list[str]()
    crowd.refuses = "the door is shut"
    keeping = asyncio.create_task(keep_scaled(scaler, {"discover": Limits(1, 2)}, crowd, said.append))
    try:
        await publish(operator, "f", 0, 200)

        async def refused() -> bool:
            return bool(said)

        await eventually(refused, TOLD)
        assert said[0] == "cannot give discover 2 workers: the door is shut"
        assert await last_decisions(operator.nc) == []
        crowd.refuses = ""

        async def done() -> bool:
            return crowd.workers["discover"] == 2

        await eventually(done, TOLD)
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_nothing_was_ever_decided(buses: tuple[Bus, Bus]) -> None:
    operator, _ = buses
    assert await last_decisions(operator.nc) == []
    await operator.nc.jetstream().delete_stream(subjects.SCALING)
    assert await last_decisions(operator.nc) == []
