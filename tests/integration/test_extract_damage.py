"""Files that are broken, false or hostile: their good frames and what was lost, or a reason; never a wrong frame."""

import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from lodestream.demo.clips import Clip, cut, sound
from tests.support.video import decoded, encoded, extract

MP4 = Clip("mp4", bframes=2)
WEBM = Clip("webm", codec="libvpx-vp9", container="webm", sound=True)
TRANSPORT = Clip("transport", container="mpegts", bframes=2, sound=True)
FRAGMENTS = Clip("fragments", fragmented=True, sound=True)
HEVC = Clip("hevc", codec="libx265")
EVERY_FRAME = 1 / 25


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (MP4, "of 100 frames found; the file ends at "),
        (HEVC, "of 100 frames found; the file ends at "),
        (WEBM, "the file ends at "),
        (FRAGMENTS, "frames are incomplete; the file ends at "),
        (TRANSPORT, "frames are incomplete; the file ends in the middle of a packet"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_of_a_file_that_was_cut_every_whole_frame_is_kept(clip: Clip, words: str, tmp_path: Path) -> None:
    result = extract(cut(encoded(clip), 0.55), tmp_path, every=EVERY_FRAME)
    assert 35 <= len(result.times) <= 65
    assert result.numbers == list(range(len(result.times)))
    assert result.jpegs == decoded(clip)[: len(result.times)]
    assert words in result.damage


def test_sampling_goes_by_the_clock_of_the_whole_file(tmp_path: Path) -> None:
    result = extract(cut(encoded(MP4), 0.55), tmp_path, every=0.5)
    assert result.numbers == [0, 13, 25, 38]


def test_of_a_stream_that_was_joined_late_all_is_kept_from_its_first_keyframe(tmp_path: Path) -> None:
    late = encoded(TRANSPORT)[len(encoded(TRANSPORT)) // 3 // 188 * 188 :]
    result = extract(late, tmp_path, every=EVERY_FRAME)
    assert result.jpegs == decoded(TRANSPORT)[result.numbers[0] :]
    assert result.numbers[0] in (25, 50)
    assert result.times[0] > 0, "time counts from where the file begins"
    assert "frames come before the first keyframe" in result.damage


def test_a_hole_costs_the_rest_of_its_group_only(tmp_path: Path) -> None:
    clip = Clip("hole", seconds=4, bframes=2)
    data = bytearray(encoded(clip))
    with av.open(str(_file(tmp_path, encoded(clip)))) as container:
        hit = [packet for packet in container.demux(video=0) if packet.size][32]
    data[hit.pos : hit.pos + 300] = bytes(300)
    result = extract(bytes(data), tmp_path / "out", every=EVERY_FRAME)
    kept = set(result.numbers)
    assert {*range(25), *range(50, 100)} <= kept
    assert kept.isdisjoint(range(36, 50))
    assert result.jpegs == [decoded(clip)[number] for number in result.numbers]  # type: ignore[index]
    assert "frames are incomplete" in result.damage
    assert f"{100 - len(kept)} of 100 frames could not be decoded" in result.damage


@pytest.mark.parametrize("clip", [MP4, HEVC, WEBM, TRANSPORT, FRAGMENTS], ids=lambda clip: clip.name)
def test_wherever_a_block_is_overwritten_no_wrong_frame_is_kept(clip: Clip, tmp_path: Path) -> None:
    """A dozen files, each with a block of nonsense over some frames; headers aside, where any lie is possible."""
    good = dict(zip((round(time * 1000) for time in clip.times()), decoded(clip), strict=True))
    head = 8000
    for seed in range(12):
        rng, data = random.Random(seed), bytearray(encoded(clip))
        at = rng.randrange(head, len(data) - head)
        data[at : at + 5000] = rng.randbytes(5000)
        result = extract(bytes(data), tmp_path / str(seed), every=EVERY_FRAME)
        wrong = [time for time, jpeg in zip(result.times, result.jpegs, strict=True) if good.get(time) != jpeg]
        assert wrong == [], seed
        assert len(result.times) == 100 or result.damage or result.unusable, seed


def test_what_the_decoder_notices_costs_what_is_shown_before_it_too(tmp_path: Path) -> None:
    """A picture is shown before the one that it refers to, and FFmpeg calls only the latter corrupt."""
    clip = Clip("noticed", seconds=2, bframes=2)
    good = decoded(clip)
    with av.open(str(_file(tmp_path, encoded(clip)))) as container:
        hit = [packet for packet in container.demux(video=0) if packet.size and packet.size > 200][1::2]
    noticed = 0
    for packet in hit:
        data = bytearray(encoded(clip))
        at = packet.pos + packet.size // 2
        data[at : at + 4] = b"\x5a\xa5\x5a\xa5"
        result = extract(bytes(data), tmp_path / str(packet.pos), every=EVERY_FRAME)
        if len(result.times) < len(good):
            noticed += 1
            assert result.jpegs == [good[time // 40] for time in result.times], packet
    assert noticed >= 3


def test_packets_that_vanished_from_a_transport_stream_are_missed(tmp_path: Path) -> None:
    """FFmpeg counts them to 16 only, and makes up references that are missing."""
    good = dict(zip((round(time * 1000) for time in TRANSPORT.times()), decoded(TRANSPORT), strict=True))
    for count in range(10, 70, 3):
        data = encoded(TRANSPORT)[: 220 * 188] + encoded(TRANSPORT)[(220 + count) * 188 :]
        result = extract(data, tmp_path / str(count), every=EVERY_FRAME)
        assert [good.get(time) for time in result.times] == result.jpegs, count
        assert len(result.times) == 100 or result.damage, count


def test_one_wrong_time_in_a_transport_stream_moves_no_other(tmp_path: Path) -> None:
    clip = Clip("clock", container="mpegts")
    data = encoded(clip)
    starts = [at for at in range(0, len(data), 188) if data[at + 1 : at + 3] == b"\x41\x00"]
    for at in (starts[10], starts[25], starts[40]):
        stamp = data.index(b"\0\0\1\xe0", at) + 9
        for byte, bit in ((1, 0x04), (2, 0x20), (2, 0x02)):
            broken = bytearray(data)
            broken[stamp + byte] ^= bit
            result = extract(bytes(broken), tmp_path / f"{at} {byte} {bit}", every=EVERY_FRAME)
            moved = [time for time, n in zip(result.times, result.numbers, strict=True) if n != time // 40]
            assert moved == [], (at, byte, bit)
            assert len(result.times) >= 70


@pytest.mark.parametrize("wipe", [bytes, random.Random(3).randbytes], ids=["zeros", "noise"])
def test_frames_of_an_avi_keep_their_times_behind_a_hole(wipe: Callable[[int], bytes], tmp_path: Path) -> None:
    clip = Clip("holed", codec="mpeg4", container="avi")
    data = bytearray(encoded(clip))
    with av.open(str(_file(tmp_path, encoded(clip)))) as container:
        chunk = [packet.pos - 8 for packet in container.demux(video=0) if packet.size][30]
    data[chunk : chunk + 4000] = wipe(4000)
    result = extract(bytes(data), tmp_path / "out", every=EVERY_FRAME)
    assert result.numbers == [time // 40 for time in result.times]
    assert {*range(30), *range(50, 100)} <= set(result.numbers)
    assert len(result.times) < 100


def test_zeros_where_a_part_never_arrived_cost_their_group(tmp_path: Path) -> None:
    data = bytearray(encoded(WEBM))
    with av.open(str(_file(tmp_path, encoded(WEBM)))) as container:
        hit = next(p for p in container.demux(video=0) if p.is_keyframe and p.pts and p.size > 1000)
    data[hit.pos + 500 : hit.pos + 900] = bytes(400)
    result = extract(bytes(data), tmp_path / "out", every=EVERY_FRAME)
    assert result.jpegs == decoded(WEBM)[:24] + decoded(WEBM)[50:]
    assert "frames are incomplete" in result.damage


@pytest.mark.parametrize("clip", [MP4, WEBM, TRANSPORT, HEVC], ids=lambda clip: clip.name)
def test_a_hundred_mutations_give_frames_or_a_reason(clip: Clip, tmp_path: Path) -> None:
    for seed in range(25):
        rng, data = random.Random(seed), bytearray(encoded(clip))
        for _ in range(rng.choice([1, 10, 200])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if seed % 5 == 0:
            del data[rng.randrange(len(data)) :]
        result = extract(bytes(data), tmp_path / str(seed), every=0.5)
        assert result.shards or result.unusable, seed
        assert len(result.times) <= 100, seed


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (random.Random(1).randbytes(100_000), "undecodable"),
        (bytes(100_000), "undecodable"),
        (b"<!doctype html><title>Not found</title>" * 200, "undecodable"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n", "undecodable"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "undecodable"),
        (sound(), "no video stream"),
        (encoded(Clip("endless", seconds=0.04)).replace(b"avc1", b"zzzz"), "undecodable"),
    ],
    ids=["nothing", "noise", "zeros", "page", "playlist", "concat", "sound", "codec"],
)
def test_what_is_no_video_is_named(data: bytes, reason: str, tmp_path: Path) -> None:
    result = extract(data, tmp_path)
    assert result.shards == []
    assert result.unusable
    assert result.unusable[0] == reason


@pytest.mark.parametrize(("codec", "pixels"), [("png", "rgb24"), ("mjpeg", "yuvj420p")])
def test_a_still_picture_is_fake(codec: str, pixels: str, tmp_path: Path) -> None:
    still = Clip("still", seconds=0.04, container="image2pipe", codec=codec, pixels=pixels).encode()
    result = extract(still, tmp_path)
    assert result.unusable == ("fake", "a still picture, not a video")


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    with av.open(tmp_path / "song.mp4", "w") as container:
        tone = container.add_stream("aac", rate=48_000)
        cover = container.add_stream("mjpeg", rate=1, options={"strict": "unofficial"})
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = cover.disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame(64, 64, "yuvj420p")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        container.mux(tone.encode(frame))
        container.mux(tone.encode(None))
    result = extract(tmp_path / "song.mp4", tmp_path)
    assert result.unusable
    assert result.unusable[0] == "no video stream"


@pytest.mark.parametrize(("width", "height"), [(30_000, 32), (16_000, 4_000)])
def test_a_huge_picture_is_refused_before_it_is_decoded(width: int, height: int, tmp_path: Path) -> None:
    with av.open(tmp_path / "huge.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "gray"
        container.mux(stream.encode(av.VideoFrame(width, height, "gray")))
        container.mux(stream.encode(None))
    assert extract(tmp_path / "huge.mkv", tmp_path).unusable == ("too large a picture", f"{width}x{height} pixels")


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    for name, asked in (("every", 1.0), ("count", 5), ("keyframes", True), ("scene", 0.3)):
        assert extract(encoded(Clip("one", seconds=0.04)), tmp_path / name, **{name: asked}).times == [0]


def test_a_file_without_duration_gives_one_frame(tmp_path: Path) -> None:
    data = encoded(Clip("still-time", seconds=1))
    at = data.index(b"stts") + 12
    assert data[at : at + 4] == (25).to_bytes(4, "big")
    stopped = data[: at + 4] + bytes(4) + data[at + 8 :]
    result = extract(stopped, tmp_path, every=0.1)
    assert result.times == [0]
    assert result.numbers[0] in range(25)


def test_nothing_between_start_and_end_is_said(tmp_path: Path) -> None:
    result = extract(encoded(MP4), tmp_path, every=1.0, start=9.0)
    assert result.unusable == ("empty", "no frame between start and end; the video has 0 to 4 s")


@pytest.mark.parametrize("asked", [{"every": 0.04}, {"scene": 0.0001}], ids=str)
def test_more_frames_than_allowed_are_refused(asked: dict[str, float], tmp_path: Path) -> None:
    result = extract(encoded(MP4), tmp_path, max_frames=20, **asked)
    assert result.unusable
    assert result.unusable[0] == "too many frames"
    assert "max_frames is 20" in result.unusable[1]


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "whole"
    path.write_bytes(data)
    return path
