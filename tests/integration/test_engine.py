"""What the engine makes of a message, on a real server and a real store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from lodestream.errors import Malformed, Outage, Reject, Retry
from lodestream.job import Job
from lodestream.node import Output
from lodestream.runner import Fate
from proto import subjects
from proto.messages import Again, Candidate, DeadLetter, Rejected, encode
from tests.support.engine import Bench, bench, candidate, declare, eventually, media
from tests.support.servers import start_nats


@pytest.fixture
def url(tmp_path: Path):
    with start_nats(tmp_path) as server:
        yield server.url


async def _idle(made: Bench) -> bool:
    return await made.pending() == 0


async def give_media(message: Candidate, job: Job) -> AsyncIterator[Output]:
    key = f"media/{message.id}/{job.recipe}.mp4"
    await job.objects.put(key, message.url.encode())
    yield "media", media(message, key)


async def test_an_output_carries_identity_recipe_cause_and_digest(url: str, tmp_path: Path) -> None:
    async with bench(url, tmp_path) as made:
        runner = await made.run(declare(give_media))
        await made.offer(candidate(1))
        await eventually(lambda: _idle(made))
        recipe = runner.node.recipe(runner.settings, "")
        stored = await made.stored()
    assert list(stored) == [f"flow.t.probe.mine.media.web-1_{recipe}"]
    (output,) = stored.values()
    assert output.recipe == recipe
    assert output.cause == "flow.t.x.source.out.web-1"
    assert len(output.digest) == 32


async def test_a_second_flow_works_nothing_and_a_lost_blob_is_made_again(url: str, tmp_path: Path) -> None:
    worked: list[str] = []

    async def handler(message: Candidate, job: Job) -> AsyncIterator[Output]:
        worked.append(job.flow)
        async for output in give_media(message, job):
            yield output

    for flow in ("one", "two", "three"):
        async with bench(url, tmp_path, flow=flow) as made:
            if flow == "three":
                keys = [stat.key async for stat in made.objects.list("media/")]
                await made.objects.put(keys[0], b"")  # emptied by hand
            runner = await made.run(declare(handler))
            await made.offer(candidate(1))
            await eventually(lambda made=made: _idle(made))
            assert len(await made.stored()) == 1
            assert runner.tally.remembered == (flow == "two")
    assert worked == ["one", "three"]


async def test_a_no_is_a_message_and_only_a_lasting_one_is_remembered(url: str, tmp_path: Path) -> None:
    worked: list[str] = []

    async def handler(message: Candidate, job: Job) -> AsyncIterator[Output]:
        worked.append(message.id)
        raise Reject("fake", "an HTML page", lasting=message.id == "web-1")
        yield

    for flow in ("one", "two"):
        async with bench(url, tmp_path, flow=flow) as made:
            await made.run(declare(handler))
            await made.offer(candidate(1), candidate(2))
            await eventually(lambda made=made: _idle(made))
            said = list((await made.stored()).values())
            assert [(m.id, m.reason, m.detail, m.source) for m in said if isinstance(m, Rejected)] == [
                ("web-1", "fake", "an HTML page", "example.org"),
                ("web-2", "fake", "an HTML page", "example.org"),
            ]
    assert sorted(worked) == ["web-1", "web-2", "web-2"]


async def test_retries_are_bounded_and_end_in_a_dead_letter_with_every_attempt(url: str, tmp_path: Path) -> None:
    attempts: list[int] = []

    async def handler(message: Candidate, job: Job) -> AsyncIterator[Output]:
        attempts.append(job.attempt)
        raise Retry("server", "503", after=0.05)
        yield

    async with bench(url, tmp_path) as made:
        runner = await made.run(declare(handler))
        await made.offer(candidate(1))
        await eventually(lambda: _idle(made))
        ((subject, letter),) = (await made.stored("dead.>", subjects.DEAD)).items()
    assert attempts == [1, 2, 3, 4]
    assert subject == "dead.t.probe.mine.web-1"
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.detail, len(letter.attempts)) == ("server", "503", 4)
    assert letter.input_subject == "flow.t.x.source.out.web-1"
    assert '"id":"web-1"' in letter.input
    assert (runner.tally.retried, runner.tally.dead) == (3, 1)


async def test_a_bug_and_a_malformed_message_become_dead_letters_and_the_node_lives(url: str, tmp_path: Path) -> None:
    async def handler(message: Candidate, job: Job) -> AsyncIterator[Output]:
        if message.id == "web-1":
            raise Malformed("bad title", "empty")
        if message.id == "web-2" and job.attempt < 3:
            raise ValueError("oops")
        yield "media", media(message)

    async with bench(url, tmp_path) as made:
        runner = await made.run(declare(handler, memo=False))
        await made.publisher.publish("flow.t.x.source.out.junk", b'{"type":"media"}')
        await made.publisher.publish("flow.t.x.source.out.noise", b"\xff\xfe\x00")
        await made.publisher.publish("flow.t.x.source.out.deep", b'{"a":' * 60_000)
        await made.offer(candidate(1), candidate(2), candidate(3))
        await eventually(lambda: _idle(made))
        letters = {m.entity: m for m in (await made.stored("dead.>", subjects.DEAD)).values()}
        assert set(letters) == {"junk", "noise", "deep", "web-1"}
        assert (letters["deep"].detail, letters["deep"].attempts) == ("nested too deeply", [])
        assert letters["web-1"].reason == "bad title"
        assert letters["noise"].input_encoding == "base64"
        assert letters["junk"].detail == "Invalid value 'media' - at `$.type`"
        assert len(await made.stored("flow.t.probe.>")) == 2
        assert runner.tally.last_error == "ValueError: oops"


async def test_a_dead_letter_offered_again_is_done(url: str, tmp_path: Path) -> None:
    async with bench(url, tmp_path) as made:
        await made.run(declare(give_media))
        inner = encode(candidate(9))
        again = Again(id="web-9", subject="flow.t.x.source.out.web-9", input=msgspec.Raw(inner))
        await made.publisher.publish(subjects.output("t", "probe", "mine", subjects.AGAIN, "web-9_1"), encode(again))
        await eventually(lambda: _idle(made))
        outputs = await made.stored("flow.t.probe.mine.media.*")
        assert [m.cause for m in outputs.values()] == ["flow.t.x.source.out.web-9"]


async def test_an_outage_is_waited_for_and_nothing_dies_of_it(url: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("lodestream.runner.OUTAGE_PAUSES", (0.05,))
    away = 30

    async def handler(message: Candidate, job: Job) -> AsyncIterator[Output]:
        nonlocal away
        away -= 1
        if away > 0:
            raise Outage("the object store is away")
        yield "media", media(message)

    async with bench(url, tmp_path) as made:
        runner = await made.run(declare(handler, memo=False))
        await made.offer(candidate(1))

        async def says() -> bool:
            return runner.tally.waits_for == "the object store is away"

        await eventually(says)
        await eventually(lambda: _idle(made))
        assert len(await made.stored()) == 1
        assert await made.stored("dead.>", subjects.DEAD) == {}
        assert runner.tally.waits_for == ""


async def test_an_input_of_an_unwired_node_or_an_old_recipe_is_acked_without_work(url: str, tmp_path: Path) -> None:
    async with bench(url, tmp_path) as made:
        await made.run(declare(give_media), fate=lambda subject: "work" if subject.endswith("web-2") else "skip")
        await made.offer(candidate(1), candidate(2))
        await eventually(lambda: _idle(made))
        assert [m.id for m in (await made.stored()).values()] == ["web-2"]


async def test_an_input_that_a_newer_record_may_want_is_handed_back(url: str, tmp_path: Path) -> None:
    async with bench(url, tmp_path) as made:
        fates: list[Fate] = ["work", "later"]
        await made.run(declare(give_media), fate=lambda subject: fates.pop())
        await made.offer(candidate(1))
        await eventually(lambda: _idle(made))
        assert [m.id for m in (await made.stored()).values()] == ["web-1"]
        assert fates == []


async def test_long_work_is_held_by_heartbeats_and_done_once(url: str, tmp_path: Path) -> None:
    worked = 0

    async def handler(message: Candidate, job: Job) -> AsyncIterator[Output]:
        nonlocal worked
        worked += 1
        await asyncio.sleep(2.5)
        yield "media", media(message)

    async with bench(url, tmp_path, ack_wait=0.6) as made:
        await made.run(declare(handler, memo=False), ack_wait=0.6)
        await made.offer(candidate(1))
        await eventually(lambda: _idle(made))
    assert worked == 1


async def test_a_full_stream_is_waited_for_in_words_and_nothing_is_dropped(url: str, tmp_path: Path) -> None:
    async with bench(url, tmp_path, max_msgs=12) as made:
        await made.offer(*(candidate(n) for n in range(10)))
        runner = await made.run(declare(give_media))

        async def says() -> bool:
            return runner.publisher.waits_for == "maximum messages exceeded"

        await eventually(says)
        assert await made.pending() > 0
        js = made.bus.nc.jetstream()
        config = (await js.stream_info("FLOW_t")).config
        config.max_msgs = -1
        await js.update_stream(config)
        await eventually(lambda: _idle(made))
        assert len(await made.stored("flow.t.probe.>")) == 10
        assert await made.stored("dead.>", subjects.DEAD) == {}


async def test_a_worker_that_stops_hands_back_what_it_has(url: str, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stuck(message: Candidate, job: Job) -> AsyncIterator[Output]:
        begun.set()
        await asyncio.sleep(3600)
        yield "media", media(message)

    async with bench(url, tmp_path) as made:
        await made.run(declare(stuck, memo=False))
        await made.offer(candidate(1))
        await begun.wait()
        await made.pullers.pop().stop(grace=0.1)
        await made.run(declare(give_media))
        await eventually(lambda: _idle(made))
        assert len(await made.stored()) == 1
