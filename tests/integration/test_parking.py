"""Jobs that wait give their place to others, and take it again; none is delivered twice for that, and none is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lodestream.bus import puller
from lodestream.errors import Outage
from lodestream.job import Job
from lodestream.node import Node, Output
from proto.messages import Candidate
from tests.support.engine import Bench, bench, candidate, declare, eventually, media
from tests.support.servers import start_nats

PLACES = 4


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Bench]:
    with start_nats(tmp_path) as server:
        async with bench(server.url, tmp_path, ack_wait=1) as made:
            yield made


class Gate:
    """A node whose odd inputs wait, parked, until the gate is open."""

    def __init__(self) -> None:
        self.open, self.seen = asyncio.Event(), Counter[str]()
        self.parked = self.at_work = self.most = 0

    def node(self) -> Node:
        return declare(self._handle, memo=False)

    async def _handle(self, message: Candidate, job: Job) -> AsyncIterator[Output]:
        self.seen[message.id] += 1
        if int(message.id.removeprefix("web-")) % 2:
            self.parked += 1
            async with job.parked():
                await self.open.wait()
            self.parked -= 1
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        await asyncio.sleep(0.01)
        self.at_work -= 1
        yield "media", media(message)

    def stored_all(self, made: Bench, count: int):
        async def check() -> bool:
            return len(await made.stored()) == count

        return check


async def test_those_who_wait_hold_no_place_and_are_not_delivered_again(made):
    gate = Gate()
    await made.offer(*(candidate(n) for n in range(80)))
    await made.run(gate.node(), window=PLACES, ack_wait=1)
    await eventually(gate.stored_all(made, 40), 60)
    assert gate.parked == 40
    await asyncio.sleep(3)  # three times as long as the server waits for an answer
    gate.open.set()
    await eventually(gate.stored_all(made, 80), 60)
    await eventually(lambda: idle(made), 60)
    assert set(gate.seen.values()) == {1}
    assert gate.most == PLACES


async def test_no_more_are_taken_in_than_may_be_parked(made, monkeypatch):
    monkeypatch.setattr(puller, "PARKED", 6)
    gate = Gate()
    await made.offer(*(candidate(2 * n + 1) for n in range(40)))
    await made.run(gate.node(), window=PLACES)
    await eventually(lambda: parked(gate, 6 + PLACES), 30)
    await asyncio.sleep(1)
    assert gate.parked == made.pullers[0].in_hand == 6 + PLACES
    gate.open.set()
    await eventually(gate.stored_all(made, 40), 60)
    assert gate.most <= PLACES


async def test_an_error_while_parked_takes_the_place_again(made):
    turns = Counter[str]()

    async def handle(message: Candidate, job: Job) -> AsyncIterator[Output]:
        turns[message.id] += 1
        if turns[message.id] == 1:
            async with job.parked():
                raise Outage("leases: no answer")
        assert made.pullers[0].at_work == 1
        yield "media", media(message)

    await made.offer(candidate(1))
    await made.run(declare(handle, memo=False), window=PLACES)
    await eventually(Gate().stored_all(made, 1), 30)
    assert turns["web-1"] == 2


async def test_a_stopping_worker_hands_back_those_who_wait_at_once(made):
    gate = Gate()
    await made.offer(*(candidate(2 * n + 1) for n in range(10)))
    await made.run(gate.node(), window=PLACES)
    await eventually(lambda: parked(gate, 10), 30)
    async with asyncio.timeout(60):
        await made.pullers.pop().stop(grace=600)
    other = Gate()
    other.open.set()
    await made.run(other.node(), window=PLACES)
    await eventually(other.stored_all(made, 10), 30)


async def idle(made: Bench) -> bool:
    return await made.pending() == 0


async def parked(gate: Gate, count: int) -> bool:
    return gate.parked == count
