"""A message for a model that is not there yet: it waits in words, and is answered when the model comes."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from lodestream.demo.shapes import Film, red_ball
from lodestream.job import Job
from lodestream.node import Output, Settings
from proto import subjects
from proto.messages import Boxes, Shard
from services.detect.node import NODE, Detect
from tests.support.detecting import add_blind, store, stored
from tests.support.engine import bench, declare, eventually
from tests.support.servers import start_nats
from tests.support.triton import TritonServer


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
