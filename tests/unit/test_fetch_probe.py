"""The probe: what files are, what is missing of them, and no crash or endless loop on what is none."""

import io
import struct

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lodestream.demo.clips import Clip, cut, sound
from services.fetch import boxes
from services.fetch.probe import Unusable, probe
from services.fetch.probes import Facts

MP4 = Clip("probe", seconds=2).encode()


def name(value: object) -> str | None:
    """Of a parameter, for the test's id."""
    if isinstance(value, Clip):
        return f"{value.container}{'-fragmented' * value.fragmented}{'-tail' * (not value.faststart)}"
    return None


def facts(folder, data: bytes) -> Facts:
    path = folder / "file"
    path.write_bytes(data)
    return Facts(**probe(str(path)))


def unusable(folder, data: bytes) -> tuple[str, str]:
    with pytest.raises(Unusable) as caught:
        facts(folder, data)
    return caught.value.args


@pytest.mark.parametrize(
    ("clip", "container", "codec"),
    [
        (Clip("probe", bframes=2), "mp4", "h264"),
        (Clip("probe", fragmented=True), "mp4", "h264"),
        (Clip("probe", faststart=False), "mp4", "h264"),
        (Clip("probe", codec="libx265"), "mp4", "hevc"),
        (Clip("probe", sound=True), "mp4", "h264"),
        (Clip("probe", container="webm", codec="libvpx-vp9"), "webm", "vp9"),
        (Clip("probe", container="matroska"), "matroska", "h264"),
        (Clip("probe", container="mpegts"), "mpegts", "h264"),
        (Clip("probe", container="flv"), "flv", "h264"),
        (Clip("probe", container="avi", codec="mpeg4"), "avi", "mpeg4"),
        (Clip("probe", container="asf", codec="mpeg4"), "asf", "mpeg4"),
        (Clip("probe", container="mpeg", codec="mpeg2video"), "mpeg", "mpeg2video"),
    ],
    ids=name,
)
def test_whole_files(tmp_path, clip, container, codec):
    found = facts(tmp_path, clip.encode())
    assert (found.container, found.codec, found.width, found.height) == (container, codec, 320, 180)
    assert (found.fps, found.rotation, found.damage) == (25.0, 0, "")
    assert found.duration_s == pytest.approx(
        4.0, abs=0.1
    )  # MPEG-PS does not say for how long its last picture is shown


@pytest.mark.parametrize("fragmented", [False, True])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_that_of_the_decoder(tmp_path, degrees, fragmented):
    data = Clip("probe", seconds=1, rotation=degrees, fragmented=fragmented).encode()
    found = facts(tmp_path, data)
    assert (found.rotation, found.width, found.height) == (degrees, 320, 180)
    with av.open(io.BytesIO(data)) as container:
        assert -next(container.decode(video=0)).rotation % 360 == degrees


def test_variable_rate(tmp_path):
    found = facts(tmp_path, Clip("probe", gaps_ms=(20, 40, 100)).encode())
    assert found.fps == pytest.approx(19.04, abs=0.01)
    assert found.duration_s == pytest.approx(3.94, abs=0.03)


@pytest.mark.parametrize(
    "clip",
    [
        Clip("probe"),
        Clip("probe", fragmented=True),
        Clip("probe", container="webm", codec="libvpx-vp9"),
        Clip("probe", container="avi", codec="mpeg4"),
    ],
    ids=name,
)
def test_cut_files_say_so(tmp_path, clip):
    data = cut(clip.encode(), 0.6)
    assert f"cut short: {len(data)} of " in facts(tmp_path, data).damage


def test_cut_before_its_index(tmp_path):
    reason, detail = unusable(tmp_path, cut(Clip("probe", faststart=False).encode()))
    assert reason == "damaged"
    assert detail.startswith("cut short: ")


def test_pictures_that_do_not_move_are_none(tmp_path):
    """A song with a cover is a song."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        tone = container.add_stream("aac", rate=44100)
        cover = container.add_stream("mjpeg", rate=1, options={"strict": "unofficial"})
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24").reformat(format="yuvj420p")
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate = 44100
        container.mux(tone.encode(silence))
        container.mux(tone.encode(None))
    assert unusable(tmp_path, out.getvalue())[0] == "audio"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (sound(0.5), "audio"),
        (b"", "fake"),
        (b"<html>" * 100, "fake"),
        (b"#EXTM3U\n#EXTINF:3,\n/etc/passwd\n#EXT-X-ENDLIST\n", "fake"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "fake"),
        (MP4[:40], "fake"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes(range(256)) * 8, "fake"),
        (b"\x1aE\xdf\xa3" + bytes(range(256)) * 8, "fake"),
        (b"G" + bytes(187), "fake"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:12]),
)
def test_what_is_no_video(tmp_path, data, reason):
    assert unusable(tmp_path, data)[0] == reason


def test_headers_without_frames(tmp_path):
    out = io.BytesIO()
    with av.open(out, "w", format="mp4", options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    assert unusable(tmp_path, out.getvalue()) == ("fake", "no picture in it")


@given(st.binary(max_size=200), st.integers(0, len(MP4)), st.integers(0, 400))
def test_boxes_of_anything_are_read_in_the_end(junk, at, length):
    for data in (junk, MP4[:at] + junk + MP4[at + length :]):
        found = boxes.read(io.BytesIO(data), len(data))
        assert found.rotation in (0, 90, 180, 270)


def test_boxes_that_claim_nothing_or_everything():
    for length in (0, 1, 7, 8, 2**31, 2**32 - 1):
        data = struct.pack(">I", length) + b"moov" + struct.pack(">I", length) + b"trak" + bytes(100)
        boxes.read(io.BytesIO(data), len(data))


@pytest.mark.parametrize("clip", [Clip("probe"), Clip("probe", container="matroska")], ids=name)
def test_words_in_a_file_need_not_be_utf8(tmp_path, clip):
    data = clip.encode()
    for word in (b"VideoHandler", b"Lavf", b"DURATION"):
        data = data.replace(word, b"\xed\xa0\x80\xff" + word[4:])
    assert facts(tmp_path, data).codec == "h264"


def test_of_a_million_tracks_a_thousand_are_looked_at():
    handler = b"\0\0\0\x14hdlr" + bytes(8) + b"vide"
    header = b"\0\0\0\x54tkhd" + bytes(40) + struct.pack(">9i", 0, 1 << 16, *[0] * 7)
    media = struct.pack(">I4s", 8 + len(handler), b"mdia") + handler
    turned = struct.pack(">I4s", 8 + len(header) + len(media), b"trak") + header + media
    for empty, rotation in ((0, 90), (900, 90), (100_000, 0)):
        tracks = b"\0\0\0\x08trak" * empty + turned
        moov = struct.pack(">I4s", 8 + len(tracks), b"moov") + tracks
        assert boxes.read(io.BytesIO(moov), len(moov)).rotation == rotation
