"""The clips that the demo and the tests are made of: what they say of themselves must be so."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest

from lodestream.demo.clips import Clip, cut, draw, read_number, sound

CLIPS = [
    Clip("plain"),
    Clip("bframes", bframes=3),
    Clip("vp9", codec="libvpx-vp9", container="webm"),
    Clip("transport", container="mpegts", bframes=2, sound=True),
    Clip("variable", gaps_ms=(20, 40, 120, 33)),
    Clip("turned", rotation=90),
    Clip("fragments", fragmented=True),
]


def decode(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data)) as container:
        return list(container.decode(container.streams.video[0]))


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_a_clip_holds_its_numbered_frames_at_its_times(clip: Clip) -> None:
    frames = decode(clip.encode())
    pictures = [np.rot90(frame.to_ndarray(format="rgb24"), -(clip.rotation // 90)) for frame in frames]
    assert [read_number(picture) for picture in pictures] == list(range(len(clip.times())))
    tick = 1 / 1000 if clip.container == "webm" else 1 / 12_800
    shown = [frame.time - frames[0].time for frame in frames]
    assert shown == pytest.approx([float(time) for time in clip.times()], abs=tick)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_a_clip_is_the_same_bytes_every_time(clip: Clip) -> None:
    short = replace(clip, seconds=1.0)
    assert short.encode() == short.encode()


def test_headers_say_what_each_kind_promises() -> None:
    def header(clip: Clip) -> tuple[int, int, int]:
        with av.open(io.BytesIO(clip.encode())) as container:
            video = container.streams.video[0]
            return video.frames, video.codec_context.width, video.codec_context.height

    assert header(Clip("plain", seconds=1)) == (25, 320, 180)
    assert header(Clip("fragments", seconds=1, fragmented=True)) == (0, 320, 180)
    assert header(Clip("turned", seconds=1, rotation=270)) == (25, 180, 320)
    assert {frame.rotation for frame in decode(Clip("turned", seconds=1, rotation=90).encode())} == {-90}


def test_playlist_names_segments_that_hold_every_frame() -> None:
    files = Clip("segments", seconds=5).hls()
    names = [line for line in files["index.m3u8"].decode().splitlines() if line.endswith(".ts")]
    frames = [frame for name in names for frame in decode(files[name])]
    assert len(names) == 3
    assert [read_number(frame.to_ndarray(format="rgb24")) for frame in frames] == list(range(125))


def test_numbers_survive_scaling_and_disagree_when_smeared() -> None:
    picture = draw(Clip("plain"), 4711, 3.0)
    assert read_number(picture) == read_number(picture[::2, ::2]) == read_number(picture[..., 0]) == 4711
    smeared = picture.copy()
    smeared[160:] = 128
    assert read_number(smeared) is None


def test_scenes_and_clips_look_different() -> None:
    clip = Clip("scenes", cuts=(1.0,))
    before, after = (draw(clip, 25, time).astype(int) for time in (0.99, 1.0))
    assert abs(before - after).mean() > 30
    assert abs(draw(Clip("one"), 0, 0.0).astype(int) - draw(Clip("other"), 0, 0.0)).mean() > 10


def test_a_cut_file_gives_its_first_frames_when_its_index_comes_first() -> None:
    clip = Clip("cut", seconds=4)
    with av.open(io.BytesIO(cut(clip.encode()))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert 20 < len(packets) < 80
    with pytest.raises(av.error.InvalidDataError):
        av.open(io.BytesIO(cut(replace(clip, faststart=False).encode())))


def test_a_sound_has_no_picture() -> None:
    with av.open(io.BytesIO(sound())) as container:
        assert not container.streams.video
        assert container.streams.audio
