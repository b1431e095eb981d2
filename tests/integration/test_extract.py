"""The frames that a video gives, by the number that each picture carries, for every kind of video and every sampler."""

import json
from pathlib import Path

import pytest

from lodestream.demo.clips import Clip
from services.extract.sampler import Sampler
from tests.support.video import KINDS, decoded, encoded, extract, filtered, members, pixels

FIRST_OF_EACH_SECOND = "isnan(prev_selected_t)+gt(floor(t),floor(prev_selected_t))"


KIND = pytest.mark.parametrize("clip", KINDS, ids=lambda clip: clip.name)


def expected(clip: Clip, **sampler: object) -> list[int]:
    """Numbers of the frames, from the times at which the clip was made."""
    times = [float(time) for time in clip.times()]
    ends = times[-1] + times[-1] / (len(times) - 1)
    return Sampler(**sampler).choose(times, [], ends, tick=0.001)  # type: ignore[arg-type]


@KIND
@pytest.mark.parametrize(
    "sampler",
    [{"every": 1.0}, {"every": 0.3}, {"every": 0.7, "start": 1.1, "end": 3.0}, {"count": 7}, {"count": 1}],
    ids=str,
)
def test_frames_are_exactly_those_of_full_decoding(clip: Clip, sampler: dict[str, float], tmp_path: Path) -> None:
    result, frames = extract(encoded(clip), tmp_path, **sampler), decoded(clip)
    numbers = expected(clip, **sampler)
    assert result.numbers == numbers
    assert result.jpegs == [frames[number] for number in numbers]
    assert result.times == pytest.approx([1000 * clip.times()[number] for number in numbers], abs=1)
    assert result.damage == ""


@pytest.mark.parametrize("clip", [clip for clip in KINDS if clip.name != "bare"], ids=lambda clip: clip.name)
def test_every_second_is_what_ffmpeg_selects(clip: Clip, tmp_path: Path) -> None:
    selected = [round(frame.time * 1000) for frame in filtered(encoded(clip), "select", FIRST_OF_EACH_SECOND)]
    assert extract(encoded(clip), tmp_path, every=1.0).times == selected


@KIND
def test_keyframes_are_as_full_decoding_gives_them(clip: Clip, tmp_path: Path) -> None:
    result, frames = extract(encoded(clip), tmp_path, keyframes=True), decoded(clip)
    assert result.jpegs == [frames[number] for number in result.numbers]  # type: ignore[index]
    if clip.codec == "libx264" and not clip.options:
        assert result.numbers == list(range(0, len(frames), clip.gop))
    else:
        assert result.numbers[0] == 0


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_scenes_begin_where_they_were_cut(container: str, tmp_path: Path) -> None:
    clip = Clip("scenes", seconds=6, bframes=2, cuts=(1.4, 3.0, 4.88), container=container)
    assert extract(clip.encode(), tmp_path, scene=0.3).numbers == [0, 35, 75, 122]
    assert extract(clip.encode(), tmp_path, scene=0.3, start=2.0, end=4.0).numbers == [50, 75]


def test_scenes_are_those_that_ffmpeg_selects(tmp_path: Path) -> None:
    data = Clip("scenes", seconds=4, cuts=(0.6, 1.8, 1.92, 3.0)).encode()
    for threshold in (0.05, 0.3, 0.8):
        cuts = [round(frame.time * 1000) for frame in filtered(data, "select", f"gt(scene,{threshold})")]
        assert extract(data, tmp_path, scene=threshold).times == [0, *cuts]


def test_shards_hold_256_frames_of_one_size_and_can_be_read_by_range(tmp_path: Path) -> None:
    result = extract(Clip("long", seconds=11, width=96, height=64).encode(), tmp_path, every=0.04)
    assert [len(shard["length"]) for shard in result.shards] == [256, 19]
    assert [shard["index"] for shard in result.shards] == [0, 1]
    assert result.numbers == list(range(275))
    files = [members(Path(shard["path"])) for shard in result.shards]
    assert [data for file in files for name, data in file.items() if name.endswith(".jpg")] == result.jpegs
    assert json.loads(files[1]["web-1_10240.json"]) == {
        "frame_id": "web-1_10240",
        "media_id": "web-1",
        "time_ms": 10240,
        "source": "example.org",
        "url": "https://example.org/1",
        "shard": "web-1_s0001",
        "width": 96,
        "height": 64,
    }


def test_a_new_size_begins_a_new_shard(tmp_path: Path) -> None:
    parts = [Clip("sizes", seconds=2, container="mpegts", width=width, height=width // 2) for width in (160, 320)]
    result = extract(b"".join(part.encode() for part in parts), tmp_path, every=0.5)
    assert [(shard["width"], shard["height"]) for shard in result.shards] == [(160, 80), (320, 160)]
    assert result.times == [0, 520, 1000, 1520, 2000, 2520, 3000, 3520]
    assert result.numbers == [0, 13, 25, 38] * 2


def test_joined_transport_streams_are_one_video(tmp_path: Path) -> None:
    part = Clip("joined", seconds=3, container="mpegts", bframes=2, sound=True).encode()
    result = extract(part * 3, tmp_path, every=1.0)
    assert result.times == list(range(0, 9000, 1000))
    assert result.numbers == [0, 25, 50] * 3
    assert result.damage == ""


def test_an_hls_download_is_one_video(tmp_path: Path) -> None:
    files = Clip("hls", seconds=7, bframes=2, sound=True).hls()
    result = extract(b"".join(files[name] for name in sorted(files) if name.endswith(".ts")), tmp_path, every=1.0)
    assert result.times == list(range(0, 7000, 1000))
    assert result.numbers == list(range(0, 175, 25))
    assert result.damage == ""


def test_max_side_and_quality_shape_the_pictures(tmp_path: Path) -> None:
    data = Clip("small", rotation=90).encode()
    full, small = extract(data, tmp_path), extract(data, tmp_path / "small", max_side=100, quality=40)
    assert [pixels(jpeg).shape for jpeg in small.jpegs] == [(56, 100, 3)] * 4
    assert (small.shards[0]["width"], small.shards[0]["height"]) == (100, 56)
    assert sum(map(len, small.jpegs)) < sum(map(len, full.jpegs)) / 4
    assert small.numbers == full.numbers == [0, 25, 50, 75]


def test_the_same_video_gives_the_same_bytes(tmp_path: Path) -> None:
    data = Clip("same").encode()
    shards = [extract(data, tmp_path / name).shards[0]["path"] for name in "ab"]
    assert Path(shards[0]).read_bytes() == Path(shards[1]).read_bytes()
