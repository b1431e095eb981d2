"""A model that is not there yet, and a Triton that dies: frames wait in words, and are answered when it is back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lodestream.demo.shapes import Film, red_ball
from lodestream.errors import Outage
from lodestream.job import Job
from lodestream.node import Output, Settings
from proto import subjects
from proto.messages import Boxes, Shard
from services.detect.node import NODE, Detect
from tests.support.detecting import Bench, add_blind, agrees, frames, install, store, stored
from tests.support.engine import bench, declare, eventually
from tests.support.servers import start_nats
from tests.support.triton import TritonServer, start_triton


async def test_a_model_that_comes_late_finds_its_message_waiting(triton: TritonServer, tmp_path: Path) -> None:
    parts = store(tmp_path, triton)
    shard = await stored(parts, Film.of("late", red_ball(seconds=1)), tmp_path)
    assert NODE.open
    with start_nats(tmp_path) as server:
        async with NODE.open(parts) as state, bench(server.url, tmp_path) as engine:

            async def handler(message: Shard, job: Job) -> AsyncIterator[Output]:
                """The node's own, with what its worker would have."""
                job.state, job.settings = state, Detect(labels=["thing"], model="expected")
                async for output in NODE.handler(message, job):
                    yield output

            gives = {"takes": (Shard,), "gives": {"boxes": Boxes}, "settings": Settings}
            runner = await engine.run(replace(declare(handler), **gives))
            await engine.offer(shard)

            async def waits() -> bool:
                return "expected is not installed; get it with: lode models pull expected" in runner.tally.waits_for

            await eventually(waits, 60)
            assert await engine.pending() == 1
            assert await engine.stored() == {}
            add_blind(triton.models, "expected")

            async def answered() -> bool:
                return await engine.pending() == 0

            await eventually(answered, 60)
            (said,) = (await engine.stored()).values()
            assert isinstance(said, Boxes)
            assert said.labels == [["thing", "thing"]] * 2
            assert runner.tally.waits_for == ""
            assert (runner.tally.dead, runner.tally.retried) == (0, 0)
            assert await engine.stored("dead.>", subjects.DEAD) == {}


async def test_a_triton_that_is_killed_in_the_middle_costs_nothing_but_time(tmp_path: Path) -> None:
    film = Film.of("killed", red_ball())
    server = start_triton(tmp_path)
    parts = store(tmp_path, server)
    install(server, "standin-grounding-dino")
    shards = [await stored(parts, film, tmp_path, media=f"web-{number}") for number in range(12)]
    assert NODE.open
    with server.process:
        async with NODE.open(parts) as state:
            bench = Bench(parts, state, {"labels": ["red ball"], "model": "standin-grounding-dino"})
            await bench.detect(shards[0])
            asked = [asyncio.create_task(bench.detect(shard)) for shard in shards]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            server.process.kill()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert {type(answer) for answer in answers} == {Boxes, Outage}, "some were done, and all others wait"
            with pytest.raises(Outage, match="Triton"):
                await bench.detect(shards[1])
            await asyncio.to_thread(server.process.start)
            truth = [film.truth(time / 1000) for time in frames(film, tmp_path)[0]]
            for shard in shards:
                agrees(await patiently(bench, shard), truth)


async def patiently(bench: Bench, shard: Shard) -> Boxes:
    """What the node says, asked again while there is an outage, as a worker does."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await bench.detect(shard)
            except Outage:
                await asyncio.sleep(0.5)
