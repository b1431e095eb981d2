"""The dedup node on real frames: a real Triton with the stand-in of DINOv3, and hashes without any model."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from lodestream.errors import Malformed, Outage, Reject
from lodestream.inference.client import open_triton
from lodestream.inference.features import Features
from lodestream.job import Parts
from lodestream.models import standins
from proto import ids, keys
from proto.messages import Kept, Message, Shard, Unique
from services.dedup.node import NODE
from services.dedup.projects import Projects
from tests.support.filtering import Asked
from tests.support.frames import job, jpeg, parts, plain, put_shard
from tests.support.painted import scene
from tests.support.triton import TritonServer

MODEL = "standin-dinov3"
SIZE, SMALLER = (320, 180), (240, 136)


@dataclass
class Deduping:
    """The node with what its `open` gave."""

    parts: Parts
    projects: Projects
    asked: Asked
    no: Reject | None = None
    """What it said where nothing was new."""

    async def __call__(self, message: Message, recipe: str = "", **given: Any) -> Unique:
        """The one message that it gives; by the right port."""
        settings = NODE.read_settings({"model": MODEL, **given})
        work = job(self.parts, settings, self.projects, recipe or NODE.recipe(settings, message.recipe))
        work.kin = frozenset((work.recipe,))
        handler, self.no = NODE.handler(message, work), None
        port, made = await anext(handler)
        try:
            assert [more async for more in handler] == []
        except Reject as no:
            self.no = no
        assert isinstance(made, Unique)
        assert (port, self.no is None) == (("unique", True) if made.unique else ("empty", False))
        return made


@asynccontextmanager
async def deduping(on: Parts) -> AsyncIterator[Deduping]:
    """A worker's hands, with memory of their own."""
    async with open_triton(on) as triton:
        with ThreadPoolExecutor(2) as pool:
            asked = Asked(triton)
            projects = Projects(on, Features(asked), pool)  # type: ignore[arg-type]
            try:
                yield Deduping(on, projects, asked)
            finally:
                await projects.close()


def coded(number: int, size: tuple[int, int] = SIZE, quality: int = 90) -> bytes:
    """A scene as a video's frame; the same number is the same scene."""
    return jpeg(np.asarray(scene(number).resize(size, Image.Resampling.BICUBIC)), quality)


async def put(
    on: Parts, frames: Sequence[int | bytes], media: str, size: tuple[int, int] = SIZE, quality: int = 90
) -> Shard:
    """A shard of scenes, or of JPEGs."""
    jpegs = [frame if isinstance(frame, bytes) else coded(frame, size, quality) for frame in frames]
    return await put_shard(on.objects, jpegs, media=media, width=size[0], height=size[1])


@pytest.fixture
async def at(triton: TritonServer, tmp_path: Path) -> AsyncIterator[Deduping]:
    """The node with the stand-in to ask."""
    if not (triton.models / MODEL).exists():
        standins.install(MODEL, triton.models)
    async with deduping(replace(parts(tmp_path), triton=triton.address, models=triton.models)) as made:
        yield made


@pytest.fixture
async def blind(tmp_path: Path) -> AsyncIterator[Deduping]:
    """The node with no Triton and no model."""
    async with deduping(parts(tmp_path)) as made:
        yield made


async def test_a_video_coded_anew_names_the_frames_that_it_repeats_and_how_similar_they_are(at: Deduping) -> None:
    first = await put(at.parts, range(6), "web-original")
    other = await put(at.parts, [9, *range(6)], "web-copy", SMALLER, 40)
    said = await at(first)
    assert (said.unique, said.repeats, said.model) == (list(range(6)), [], MODEL)
    said = await at(other)
    assert said.unique == [0]
    assert [repeat.index for repeat in said.repeats] == [1, 2, 3, 4, 5, 6]
    assert [repeat.frame for repeat in said.repeats] == [ids.frame_id("web-original", t) for t in first.time_ms]
    assert all(0.95 < repeat.similarity < 1 and repeat.by == "vectors" for repeat in said.repeats)
    assert (said.id, said.media_id, said.source, said.shard) == (other.id, "web-copy", "example.org", other)


@pytest.mark.parametrize("mode", ["dinov3", "phash", "both"])
async def test_frames_of_one_shard_repeat_each_other_and_a_broken_one_is_said(at: Deduping, mode: str) -> None:
    shard = await put(at.parts, [1, coded(1, quality=50), b"no picture", 2, coded(1, quality=70)], "web-1")
    said = await at(shard, mode=mode)
    assert (said.unique, said.broken) == ([0, 3], [2])
    assert [(repeat.index, repeat.frame) for repeat in said.repeats] == [(1, "web-1_0"), (4, "web-1_0")]
    assert {repeat.by for repeat in said.repeats} == {"vectors" if mode == "dinov3" else "phash"}


async def test_where_nothing_is_new_there_is_a_no(at: Deduping) -> None:
    await at(await put(at.parts, [1, 2], "web-1"))
    said = await at(await put(at.parts, [2, 1], "web-2"))
    assert said.unique == []
    assert at.no
    assert at.no.reason == "all duplicates"
    said = await at(await put(at.parts, [b"no picture"], "web-3"))
    assert said.broken == [0]
    assert at.no.reason == "no frame to judge"


async def test_only_frames_that_a_filter_kept_count(at: Deduping) -> None:
    shard = await put(at.parts, [1, 2, 3], "web-1")
    why, about = ["dark", "", "dark"], {"id": shard.id, "recipe": shard.recipe, "media_id": "web-1", "source": ""}
    kept = Kept(**about, shard=shard, kept=[1], reason=why, detail=why)  # type: ignore[arg-type]
    said = await at(kept)
    assert (said.unique, said.repeats) == ([1], [])
    assert (await at(await put(at.parts, [1, 2, 3], "web-2"))).unique == [0, 2]


async def test_hashes_want_neither_triton_nor_a_model(blind: Deduping) -> None:
    await blind(await put(blind.parts, range(8), "web-1"), mode="phash")
    said = await blind(await put(blind.parts, [*range(8), 20, 21], "web-2", SMALLER, 40), mode="phash")
    assert said.unique == [8, 9]
    assert {repeat.by for repeat in said.repeats} == {"phash"}
    assert all(1 - 8 / 64 <= repeat.similarity <= 1 for repeat in said.repeats)
    assert said.model == ""


async def test_frames_of_one_colour_are_all_alike_to_hashes(blind: Deduping) -> None:
    frames = [jpeg(plain(colour, *SIZE), 60) for colour in ((0, 0, 0), (255, 255, 255), (200, 30, 30))]
    assert (await blind(await put(blind.parts, [*frames, 3], "web-1"), mode="phash")).unique == [0, 3]


async def test_a_recorded_verdict_stands_for_the_next_worker_and_nothing_is_computed_again(at: Deduping) -> None:
    shards = [await put(at.parts, [1, 2, 3], "web-1"), await put(at.parts, [3, 4], "web-2")]
    said = [await at(shard) for shard in shards]
    rows = at.asked.rows.total()
    async with deduping(at.parts) as other:
        assert [await other(shard) for shard in reversed(shards)] == said[::-1]
        assert other.asked.rows.total() == 0
    assert rows == 5


async def test_another_threshold_is_another_ledger_from_stored_vectors(at: Deduping) -> None:
    shard = await put(at.parts, [1, coded(1, quality=50), 2], "web-1")
    assert (await at(shard)).unique == [0, 2]
    rows = at.asked.rows.total()
    assert (await at(shard, threshold=0.9999)).unique == [0, 1, 2]
    assert at.asked.rows.total() == rows
    assert at.parts.objects.read["frames"] == 1
    ledgers = {keys.ledger_of(stat.key) async for stat in at.parts.objects.list(keys.ledgers("flow"))}
    assert len(ledgers) == 2


async def test_a_flow_of_its_own_has_a_ledger_of_its_own_and_the_same_vectors(at: Deduping) -> None:
    shard = await put(at.parts, [1, 2], "web-1")
    await at(shard)
    settings = NODE.read_settings({"model": MODEL})
    work = msgspec.structs.replace(job(at.parts, settings, at.projects), flow="another")
    work.kin = frozenset((work.recipe,))
    (port, said), *_ = [output async for output in NODE.handler(shard, work)]
    assert (port, said.unique) == ("unique", [0, 1])
    assert at.asked.rows.total() == 2


async def test_a_model_that_is_not_there_is_waited_for_in_words(at: Deduping) -> None:
    with pytest.raises(Outage, match="get it with: lode models pull nothing-like-it"):
        await at(await put(at.parts, [1], "web-1"), model="nothing-like-it")


async def test_an_index_beyond_the_shard_is_malformed(blind: Deduping) -> None:
    shard = await put(blind.parts, [1], "web-1")
    with pytest.raises(Malformed):
        await blind(Unique(id=shard.id, media_id="web-1", source="", shard=shard, unique=[4]), mode="phash")


def test_a_model_that_makes_no_vectors_is_refused_when_the_flow_is_read() -> None:
    with pytest.raises(ValueError, match="makes no vectors of pictures"):
        NODE.read_settings({"model": "dfine-s"})
