"""Attempts are what failed, whoever tried; what is only handed on or killed costs none."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lodestream import runner
from lodestream.attempts import forget_all
from lodestream.errors import Postpone, Retry
from lodestream.flow.removal import free
from lodestream.job import Job
from lodestream.leases import Lost
from lodestream.node import Node, Output
from proto import keys, subjects
from proto.messages import Candidate, DeadLetter
from tests.support.engine import Bench, bench, candidate, declare, eventually, media
from tests.support.servers import start_nats


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Bench]:
    with start_nats(tmp_path) as server:
        async with bench(server.url, tmp_path) as made:
            yield made


def failing(seen: list[int], good_after: int = 99, may_end: asyncio.Event | None = None) -> Node:
    async def handle(message: Candidate, job: Job) -> AsyncIterator[Output]:
        seen.append(job.attempt)
        if len(seen) <= good_after:
            raise Retry("server", f"try {len(seen)}", after=0.3)
        if may_end:
            await may_end.wait()
        yield "media", media(message)

    return declare(handle, memo=False)


async def kept(made: Bench) -> list[str]:
    return [stat.key async for stat in made.objects.list("memo/attempts/")]


async def idle(made: Bench) -> bool:
    return await made.pending() == 0


async def test_a_dead_letter_tells_what_other_workers_tried(made):
    seen: list[int] = []
    await made.offer(candidate(1))
    for count in (1, 2, 3):
        await made.run(failing(seen))
        await eventually(lambda count=count: reached(seen, count), 30)
        await made.pullers.pop().stop(grace=5)
    await made.run(failing(seen))
    await eventually(lambda: idle(made), 30)
    (letter,) = (await made.stored("dead.>", subjects.DEAD)).values()
    assert isinstance(letter, DeadLetter)
    assert [attempt.error for attempt in letter.attempts] == [f"Retry: server: try {n}" for n in (1, 2, 3, 4)]
    assert all(attempt.worker and attempt.at for attempt in letter.attempts)
    assert seen == [1, 2, 3, 4]
    assert await kept(made) == []


async def test_what_was_done_in_the_end_leaves_no_trace_of_its_attempts(made):
    seen: list[int] = []
    await made.offer(candidate(1))
    may_end = asyncio.Event()
    await made.run(failing(seen, 2, may_end))
    await eventually(lambda: reached(seen, 3), 30)
    assert len(await kept(made)) == 1
    may_end.set()
    await eventually(lambda: idle(made), 30)
    assert (seen, await kept(made)) == ([1, 2, 3], [])


async def test_where_all_is_delivered_anew_no_attempt_is_left(made):
    others = keys.memo("probe", "1234abcd", "web-1")
    for key in (keys.attempts("t", "mine", "7"), keys.attempts("u", "mine", "8"), others):
        await made.objects.put(key, b"[]")
    await forget_all(made.objects)
    assert [stat.key async for stat in made.objects.list("")] == [others]


@pytest.mark.parametrize("purge", [False, True])
async def test_attempts_at_a_flow_go_with_it(made, purge):
    mine, other = keys.attempts("t", "mine", "7"), keys.attempts("t2", "mine", "8")
    ledger = f"{keys.ledgers('t')}unique"
    for key in (mine, other, ledger):
        await made.objects.put(key, b"[]")
    await free(made.objects, "t", purge=purge)
    assert {stat.key async for stat in made.objects.list("")} == {other, *([] if purge else [ledger])}


async def test_being_handed_on_is_no_attempt(made):
    begun: list[int] = []

    async def endless(message: Candidate, job: Job) -> AsyncIterator[Output]:
        begun.append(job.attempt)
        await asyncio.sleep(600)
        yield "media", media(message)

    await made.offer(candidate(1))
    for count in (1, 2):
        await made.run(declare(endless, memo=False))
        await eventually(lambda count=count: reached(begun, count), 30)
        await made.pullers.pop().stop(grace=0.01)
    seen: list[int] = []
    await made.run(failing(seen))
    await eventually(lambda: idle(made), 30)
    (letter,) = (await made.stored("dead.>", subjects.DEAD)).values()
    assert isinstance(letter, DeadLetter)
    assert (begun, seen) == ([1, 1], [1, 2, 3, 4])
    assert (len(letter.attempts), letter.deliveries) == (4, 6)


async def test_a_lost_lease_and_another_time_are_no_attempts(made, monkeypatch):
    monkeypatch.setattr(runner, "NEXT_RECORD", 0.05)
    seen: list[int] = []

    async def handle(message: Candidate, job: Job) -> AsyncIterator[Output]:
        seen.append(job.attempt)
        if len(seen) <= 6:
            raise Lost("lease lost", "media.web-1") if len(seen) % 2 else Postpone("host left alone", after=0.05)
        yield "media", media(message)

    await made.offer(candidate(1))
    await made.run(declare(handle, memo=False))
    await eventually(lambda: reached(seen, 7), 30)
    await eventually(lambda: idle(made), 30)
    assert seen == [1] * 7
    assert len(await made.stored()) == 1


async def reached(seen: list[int], count: int) -> bool:
    return len(seen) >= count
