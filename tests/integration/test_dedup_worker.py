"""Workers that find repeats, as processes: killed with -9 in the middle, they keep what a run without kills keeps."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from lodestream.bus import Bus, Publisher, connect
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.flow.store import load_deployed
from lodestream.forget.plan import plan
from lodestream.forget.work import forget
from lodestream.objects import Objects, open_objects
from lodestream.process import NATS_URL, OBJECTS, WORK
from lodestream.streams import ensure_streams
from proto import ids, subjects
from proto.messages import Shard, Unique, decode_any, encode
from tests.support.engine import eventually
from tests.support.frames import jpeg, put_shard
from tests.support.painted import scene
from tests.support.servers import start_nats

FLOW = """
flow: {name}
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds}}
  get:    {{type: fetch, from: find}}
  frames: {{type: extract, from: get}}
  new:    {{type: dedup, from: frames, mode: phash, bits: {bits}}}
"""
SHARDS, FRAMES = 60, 6


class World:
    """A server, a store, and shards of videos that repeat each other."""

    def __init__(self, url: str, bus: Bus, objects: Objects, folder: Path):
        self.url, self.bus, self.objects, self.folder = url, bus, objects, folder

    async def flow(self, name: str, bits: int = 8) -> str:
        """Deploy one; the recipe of the frames that its dedup takes."""
        flow, problems = lint(FLOW.format(name=name, bits=bits))
        assert flow, problems
        await deploy(self.bus.nc, flow)
        return (await load_deployed(self.bus.nc, name)).nodes["frames"].recipes[0]

    async def offer(self, name: str, recipe: str, shards: Sequence[Shard]) -> None:
        """As `frames` would give them."""
        publisher = await Publisher(self.bus).start()
        for shard in shards:
            shard.recipe = recipe
            entity = ids.entity(shard.id, recipe)
            await publisher.publish(subjects.output(name, "extract", "frames", "shards", entity), encode(shard))
        await publisher.stop()

    async def subjects(self, name: str) -> list[str]:
        """Where dedup said something of a shard."""
        js, found = self.bus.nc.jetstream(), list[str]()
        for port in ("unique", subjects.EMPTY):
            info = await js.stream_info(subjects.stream(name), subjects_filter=subjects.wire(name, "dedup", "*", port))
            found += info.state.subjects or {}
        return found

    async def said(self, name: str) -> dict[str, Unique]:
        """What dedup said, by shard."""
        js, found = self.bus.nc.jetstream(), dict[str, Unique]()
        for subject in await self.subjects(name):
            message = decode_any((await js.get_last_msg(subjects.stream(name), subject)).data or b"")
            assert isinstance(message, Unique)
            found[message.id] = message
        return found

    @contextmanager
    def worker(self):
        """A worker process."""
        env = {NATS_URL: self.url, OBJECTS: f"file://{self.folder}/objects", WORK: str(self.folder / "work")}
        command = [sys.executable, "-m", "lodestream.worker", "dedup"]
        process = subprocess.Popen(command, env=os.environ | env)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    async def dead(self) -> int:
        """Dead letters."""
        return (await self.bus.nc.jetstream().stream_info(subjects.DEAD)).state.messages


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with start_nats(tmp_path) as server:
        bus = await connect(server.url, patience=10)
        await ensure_streams(bus.nc)
        yield World(server.url, bus, open_objects(f"file://{tmp_path}/objects"), tmp_path)
        await bus.close()


async def films(objects: Objects) -> list[Shard]:
    """Many scenes that come back, coded otherwise, in another order."""
    dice, made = random.Random(1), []
    for number in range(SHARDS):
        scenes = [scene(dice.randrange(60), (160, 90)) for _ in range(FRAMES)]
        jpegs = [jpeg(np.asarray(each), dice.choice([40, 60, 90])) for each in scenes]
        made.append(await put_shard(objects, jpegs, media=f"web-{number}", width=160, height=90))
    return made


@pytest.mark.timeout(300)
async def test_killed_at_random_workers_say_what_a_run_without_kills_says(world: World) -> None:
    shards = await films(world.objects)
    recipe = await world.flow("calm")
    await world.offer("calm", recipe, shards)
    with world.worker():
        await eventually(lambda: _all(world, "calm"), 60)
    calm = await world.said("calm")
    recipe = await world.flow("wild", bits=8)
    await world.offer("wild", recipe, shards)
    dice = random.Random(2)
    for kill in range(2):
        with world.worker() as process:
            wanted = (kill + 1) * SHARDS // 4
            await eventually(lambda: _many(world, "wild", wanted), 90)  # noqa: B023
            await asyncio.sleep(dice.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
    with world.worker():
        await eventually(lambda: _all(world, "wild"), 120)
    wild = await world.said("wild")
    assert {k: (v.unique, v.repeats) for k, v in wild.items()} == {k: (v.unique, v.repeats) for k, v in calm.items()}
    assert sum(len(each.unique) for each in calm.values()) < 70
    assert await world.dead() == 0


@pytest.mark.timeout(200)
async def test_what_repeated_a_forgotten_video_is_judged_and_said_again(world: World) -> None:
    objects = world.objects
    shards = [await shard(objects, "web-first", [1, 2, 3]), await shard(objects, "web-second", [4, 1, 2, 5])]
    shards.append(await shard(objects, "web-third", [1, 3, 4]))
    recipe = await world.flow("some")
    await world.offer("some", recipe, shards)
    with world.worker():
        await eventually(lambda: _many(world, "some", 3), 60)
        before = await world.said("some")
        assert [each.unique for each in _in_order(before)] == [[0, 1, 2], [0, 3], []]
        what = await plan(world.bus, objects, "web-first")
        assert what.found.kinds["FLOW_some"]["unique to be made again"] == 2
        await forget(world.bus, objects, what)
        await eventually(lambda: _many(world, "some", 2), 60)
        assert "web-first" not in str(await world.said("some"))
        noes = subjects.wire("some", "dedup", "*", subjects.REJECTED)
        info = await world.bus.nc.jetstream().stream_info(subjects.stream("some"), subjects_filter=noes)
        assert not info.state.subjects
        assert [each.unique for each in _in_order(await world.said("some"))] == [[0, 1, 2, 3], [1]]
    assert await world.dead() == 0


async def shard(objects: Objects, media: str, scenes: Sequence[int]) -> Shard:
    """A video with some scenes."""
    jpegs = [jpeg(np.asarray(scene(number, (160, 90)))) for number in scenes]
    return await put_shard(objects, jpegs, media=media, width=160, height=90)


def _in_order(said: dict[str, Unique]) -> list[Unique]:
    return [each for media in ("first", "second", "third") for each in said.values() if media in each.media_id]


@pytest.mark.timeout(200)
async def test_two_workers_of_one_project_keep_no_two_frames_that_are_alike(world: World) -> None:
    shards = await films(world.objects)
    recipe = await world.flow("two")
    with world.worker(), world.worker():
        await world.offer("two", recipe, shards)
        await eventually(lambda: _all(world, "two"), 150)
    said = await world.said("two")
    new = {f"{each.media_id}_{each.shard.time_ms[index]}" for each in said.values() for index in each.unique}
    assert all(repeat.frame in new for each in said.values() for repeat in each.repeats)
    assert sum(len(each.unique) + len(each.repeats) for each in said.values()) == SHARDS * FRAMES
    assert len(new) < 70
    assert await world.dead() == 0


async def _all(world: World, name: str) -> bool:
    return await _many(world, name, SHARDS)


async def _many(world: World, name: str, count: int) -> bool:
    return len(await world.subjects(name)) >= count
