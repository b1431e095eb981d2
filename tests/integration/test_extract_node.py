"""The node as a worker runs it: real children, a real object store, messages in and out."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from lodestream.children import Children
from lodestream.demo.clips import Clip, cut, read_number
from lodestream.errors import Missing, Outage, Reject, Retry
from lodestream.job import Job, Parts
from lodestream.memo import Noted
from lodestream.objects import open_objects
from proto import keys
from proto.messages import Media, Shard
from services.extract.node import NODE
from tests.support.video import encoded, members, pixels

CLIP = Clip("node", seconds=12, bframes=2)
KEY = keys.media("web-1", "0badcafe", "0" * 64, "mp4")


class Bench:
    """A job's surroundings."""

    def __init__(self, parts: Parts, state: Any):
        self.parts, self.state = parts, state

    async def extract(
        self, data: bytes | None, *, attempt: int = 1, media: dict[str, Any] | None = None, **given: Any
    ) -> list[Shard]:
        """Stores a video and hands the handler its message; the settings are `given` as in a flow file."""
        if data is not None:
            await self.parts.objects.put(KEY, data)
            media = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **(media or {})}
        self.job = Job(
            flow="flow",
            node="frames",
            node_type=NODE.type,
            settings=NODE.read_settings(given),
            recipe="12345678",
            entity="web-1",
            cause="",
            attempt=attempt,
            objects=Noted(self.parts.objects),
            parts=self.parts,
            state=self.state,
        )
        outputs = [output async for output in NODE.handler(video(**media or {}), self.job)]
        assert {port for port, _ in outputs} <= {"shards"}
        return [message for _, message in outputs]  # type: ignore[misc]


def video(**given: Any) -> Media:
    about = {
        "url": "https://example.org/v",
        "source": "example.org",
        "sha256": "0",
        "bytes": 1,
        "container": "mp4",
        "codec": "h264",
    }
    return Media(id="web-1", width=320, height=180, object_key=KEY, **{**about, **given})


@asynccontextmanager
async def bench(folder: Path, module: str = "") -> AsyncIterator[Bench]:
    """A bench whose children run extract's module, or another."""
    parts = Parts(open_objects(f"file://{folder}/objects"), None, folder / "work", structlog.get_logger())  # type: ignore[arg-type]
    assert NODE.open
    async with Children(module, folder / "work") if module else NODE.open(parts) as state:
        yield Bench(parts, state)


async def test_shards_are_stored_and_say_where_each_frame_lies(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        shards = await on.extract(encoded(CLIP), every="40ms")
        assert [(s.id, s.index, len(s.time_ms)) for s in shards] == [("web-1_s0000", 0, 256), ("web-1_s0001", 1, 44)]
        assert {(s.media_id, s.source, s.width, s.height, s.sampler, s.damage) for s in shards} == {
            ("web-1", "example.org", 320, 180, "every 0.04s", "")
        }
        number = 0
        for shard in shards:
            assert shard.object_key == keys.shard("12345678", "web-1", shard.id, shard.sha256)
            stored = await on.parts.objects.get(shard.object_key)
            assert (shard.sha256, shard.bytes) == (hashlib.sha256(stored).hexdigest(), len(stored))
            assert on.job.objects.written[shard.object_key].sha256 == shard.sha256
            for time, offset, length in zip(shard.time_ms, shard.offset, shard.length, strict=True):
                jpeg = await on.parts.objects.get(shard.object_key, offset, length)
                assert (time, read_number(pixels(jpeg))) == (number * 40, number)
                number += 1
        async with on.parts.objects.local(shards[1].object_key) as path:
            assert f"web-1_{256 * 40}.jpg" in members(path)
        assert list((tmp_path / "work" / "extract").iterdir()) == []


async def test_damage_is_said_on_every_shard(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        shards = await on.extract(cut(encoded(CLIP), 0.9), fps=25)
        assert len(shards) == 2
        assert {shard.damage for shard in shards} == {shards[0].damage}
        assert "of 300 frames found; the file ends at" in shards[0].damage


async def test_damage_that_fetch_knew_of_is_kept(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        shards = await on.extract(encoded(CLIP), count=3, media={"damage": "the download broke off"})
        assert [shard.damage for shard in shards] == ["the download broke off"]


async def test_what_gives_no_frame_is_rejected_with_its_reason(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        for data, reason in ((b"", "empty"), (b"<html>", "undecodable")):
            with pytest.raises(Reject) as no:
                await on.extract(data)
            assert (no.value.reason, no.value.lasting) == (reason, True)
        with pytest.raises(Reject, match="too many frames: 300 are asked for, and max_frames is 10"):
            await on.extract(encoded(CLIP), every=0.04, max_frames=10)


async def test_a_missing_object_or_another_one_is_told_by_its_key(tmp_path: Path) -> None:
    async with bench(tmp_path) as on:
        with pytest.raises(Missing) as gone:
            await on.extract(None)
        assert (gone.value.reason, gone.value.detail) == ("object missing", KEY)
        data = encoded(CLIP)
        for swapped in (b"", data[:-1], data[:-1] + b"!"):
            with pytest.raises(Missing, match=KEY):
                await on.extract(swapped, media={"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})


@pytest.mark.parametrize("how", ["crash", "hang"])
async def test_a_decoder_that_fails_twice_is_given_up_and_the_service_lives(how: str, tmp_path: Path) -> None:
    async with bench(tmp_path, "tests.support.crashing_extract") as on:
        asked: dict[str, Any] = {"time_limit": "300ms", "media": {"url": how}}
        with pytest.raises(Retry, match="decoder failed"):
            await on.extract(encoded(CLIP), attempt=1, **asked)
        with pytest.raises(Reject, match="decoder failed") as no:
            await on.extract(encoded(CLIP), attempt=2, **asked)
        assert (no.value.reason, no.value.lasting) == ("undecodable", False)
        assert await on.extract(encoded(CLIP), media={"url": "late"}) != []


async def test_a_decoder_that_somebody_kills_is_not_its_videos_fault(tmp_path: Path) -> None:
    async with bench(tmp_path, "tests.support.crashing_extract") as on:
        for how in ("killed", "late killed"):
            with pytest.raises(Retry, match=r"decoder failed.*SIGKILL"):
                await on.extract(encoded(CLIP), attempt=3, media={"url": how})


async def test_shards_from_before_a_crash_are_kept(tmp_path: Path) -> None:
    async with bench(tmp_path, "tests.support.crashing_extract") as on:
        shards = await on.extract(encoded(CLIP), attempt=2, every="40ms", media={"url": "late crash"})
        assert sum(len(shard.time_ms) for shard in shards) == 300
        assert {shard.damage for shard in shards} == {"decoder failed after 11.96 s: the child died of SIGSEGV"}
        assert not on.job.lasting, "another flow may try again"


async def test_memory_and_disk_are_told_apart(tmp_path: Path) -> None:
    async with bench(tmp_path, "tests.support.crashing_extract") as on:
        with pytest.raises(Reject, match="too large: decoding takes more than 2 GiB"):
            await on.extract(encoded(CLIP), media={"url": "memory"})
        with pytest.raises(Outage, match="No space left on device"):
            await on.extract(encoded(CLIP), media={"url": "disk"})
