"""Hosts that fail, hang or are busy: they are left alone, and nobody else waits for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web

from lodestream.bus import Puller, puller
from lodestream.census import tallies
from lodestream.job import Parts
from lodestream.leases import NatsLeases
from lodestream.micro import WorkerService
from lodestream.runner import Fate, Runner
from proto import subjects
from proto.messages import DeadLetter, Media
from services.fetch import breaker
from services.fetch.node import NODE
from tests.support.engine import Bench, bench, eventually
from tests.support.hosts import Host, busy, hosts
from tests.support.servers import start_nats

PLACES, PER_HOST = 4, 2


class Fetch:
    """The fetch node on a bench, as one worker has it."""

    def __init__(self, made: Bench, runner: Runner, puller: Puller):
        self.made, self.runner, self.puller = made, runner, puller

    async def media(self, host: Host) -> set[str]:
        """Ids of what was fetched from a host."""
        stored = (await self.made.stored("flow.t.fetch.>")).values()
        return {m.id for m in stored if isinstance(m, Media) and m.source == host.name}

    def has(self, host: Host, count: int) -> Any:
        async def check() -> bool:
            return len(await self.media(host)) == count

        return check

    async def dead(self) -> list[DeadLetter]:
        return [m for m in (await self.made.stored("dead.>", subjects.DEAD)).values() if isinstance(m, DeadLetter)]


@pytest.fixture
async def sites() -> AsyncIterator[list[Host]]:
    async with hosts("sick", "well") as made:
        yield made


@pytest.fixture
async def fetch(tmp_path: Path, sites: list[Host]) -> AsyncIterator[Fetch]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(start_nats(tmp_path))
        made = await stack.enter_async_context(bench(server.url, tmp_path))
        leases = NatsLeases(made.bus)
        stack.push_async_callback(leases.close)
        (tmp_path / "work").mkdir()
        parts = Parts(made.objects, leases, tmp_path / "work", structlog.get_logger())
        assert NODE.open
        state = await stack.enter_async_context(NODE.open(parts))
        allow = [f"127.0.0.1:{host.port}" for host in sites]
        settings = NODE.read_settings({"per_host": PER_HOST, "allow_hosts": allow})
        runner = Runner("t", "mine", NODE, settings, parts, state, made.publisher, work, stands)
        pulling = Puller(made.bus, subjects.next_message("FLOW_t", "probe-1"), runner.handle, window=PLACES)
        stack.push_async_callback(pulling.stop, 1)
        yield Fetch(made, runner, await pulling.start())


async def work(*_: object) -> Fate:
    return "work"


async def stands() -> bool:
    return True


async def offer(fetch: Fetch, host: Host, count: int) -> None:
    await fetch.made.offer(*(host.candidate(n) for n in range(count)))


async def test_a_host_that_fails_is_left_alone_and_others_go_on(fetch, sites, monkeypatch):
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 600.0)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_S", 600.0)
    sick, well = sites
    sick.answer = busy
    with structlog.testing.capture_logs() as logs:
        await offer(fetch, sick, 60)
        await offer(fetch, well, 20)
        await eventually(fetch.has(well, 20), 60)
    asked = breaker.FAILURES + PER_HOST - 1  # those that were under way when it opened
    assert breaker.FAILURES <= len(sick.asked) <= asked
    assert sick.most <= PER_HOST
    assert [line["host"] for line in logs if line["event"] == "host keeps failing"] == ["sick"]
    assert await fetch.dead() == []
    assert fetch.runner.tally.retried == len(sick.asked)  # the others wait, and wear nothing out
    (said,) = fetch.runner.counts()["troubles"].items()
    assert said[0] == "sick"
    assert said[1]["failed"] == breaker.FAILURES
    assert said[1]["why"] == "server: HTTP 503"


async def test_it_is_tried_by_one_at_a_time_and_taken_up_when_it_answers(fetch, sites, monkeypatch):
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_S", 0.05)
    sick, well = sites
    sick.answer = busy
    with structlog.testing.capture_logs() as logs:
        await offer(fetch, sick, 12)
        await offer(fetch, well, 4)
        await eventually(lambda: reached(sick, breaker.FAILURES + PER_HOST), 60)
        sick.most = 0
        await eventually(lambda: reached(sick, breaker.FAILURES + PER_HOST + 4), 60)
        assert sick.most == 1
        assert await fetch.media(sick) == set()
        sick.answer = None
        await eventually(fetch.has(sick, 12), 90)
    assert await fetch.dead() == []
    assert fetch.runner.counts()["troubles"] == {}
    events = [line["event"] for line in logs if "host" in line]
    assert events == ["host keeps failing", "host answers again"]


async def test_what_wants_a_host_that_stays_away_is_let_go_in_the_end(fetch, sites, monkeypatch):
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 600.0)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_S", 600.0)
    monkeypatch.setattr(breaker, "PATIENCE_S", 0.0)
    sick, _ = sites
    sick.answer = busy
    await offer(fetch, sick, 8)

    async def buried() -> bool:
        return len(await fetch.dead()) == 8

    await eventually(buried, 90)
    letters = await fetch.dead()
    assert {letter.reason for letter in letters} == {"unreachable"}
    assert {len(letter.attempts) for letter in letters} == {4}
    assert len(sick.asked) < breaker.FAILURES + PER_HOST


async def test_a_crowd_that_waits_is_not_kept_in_hand(fetch, sites, monkeypatch):
    monkeypatch.setattr(puller, "PARKED", 6)
    monkeypatch.setattr(breaker, "ELSEWHERE_S", 0.5)
    monkeypatch.setattr(breaker, "FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(breaker, "LONGEST_PAUSE_S", 0.1)
    sick, well = sites
    sick.answer = busy
    await offer(fetch, sick, 60)
    await offer(fetch, well, 10)
    await eventually(fetch.has(well, 10), 60)
    assert fetch.puller.in_hand <= 6 + PLACES
    sick.answer = None
    await eventually(fetch.has(sick, 60), 90)
    assert await fetch.dead() == []


async def test_a_host_that_asks_for_less_is_left_alone_at_once(fetch, sites):
    async def enough(host: Host, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "200"})

    sick, well = sites
    sick.answer = enough
    await offer(fetch, sick, 20)
    await offer(fetch, well, 10)
    await eventually(fetch.has(well, 10), 60)
    assert 1 <= len(sick.asked) <= PER_HOST
    assert fetch.runner.counts()["troubles"]["sick"]["why"] == "rate limited: HTTP 429"


async def test_noes_are_answers(fetch, sites):
    async def gone(host: Host, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404)

    sick, _ = sites
    sick.answer = gone
    await offer(fetch, sick, 20)
    await eventually(lambda: reached(sick, 20), 60)
    assert fetch.runner.counts()["troubles"] == {}


async def test_those_who_wait_for_a_busy_host_hold_no_place(fetch, sites):
    async def silent(host: Host, request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(600)
        return web.Response()

    sick, well = sites
    sick.answer = silent
    await offer(fetch, sick, 40)
    await eventually(lambda: reached(sick, PER_HOST), 30)
    await offer(fetch, well, 20)
    await eventually(fetch.has(well, 20), 60)
    assert len(sick.asked) == PER_HOST
    assert fetch.puller.at_work <= PLACES


async def test_what_keeps_failing_is_told_to_whoever_asks(fetch, sites, monkeypatch):
    monkeypatch.setattr(breaker, "FAILURES", 1)
    sick, _ = sites
    sick.answer = busy
    service = WorkerService(fetch.made.bus, "fetch", "", lambda: [fetch.runner])
    await service.start()
    await offer(fetch, sick, 1)

    async def told() -> bool:
        said = await tallies(fetch.made.bus)
        return any("sick" in tally.troubles for worker in said.values() for each in worker.values() for tally in each)

    await eventually(told, 30)
    await service.stop()


async def reached(host: Host, count: int) -> bool:
    return len(host.asked) >= count
