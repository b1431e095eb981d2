"""From frames to JPEGs: colours, directions, sizes."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from lodestream.demo.clips import Clip, turn
from services.extract.jpeg import JpegEncoder
from tests.support.video import pixels

Y, X = np.mgrid[0:180, 0:320]
PICTURE = np.stack([130 + 100 * np.sin(wave) for wave in (X / 45, Y / 40 + 1, (X + Y) / 60 + 2)], 2).astype(np.uint8)


def frame_of(pixel_format: str = "yuv420p", **how: str) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(PICTURE, "rgb24").reformat(format=pixel_format, **how)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "nv12", "yuvj420p"])
@pytest.mark.parametrize(("matrix", "span"), [("ITU601", "MPEG"), ("ITU709", "MPEG"), ("ITU709", "JPEG")])
def test_colours_are_those_that_went_in(pixel_format: str, matrix: str, span: str) -> None:
    frame = frame_of(pixel_format, dst_colorspace=matrix, dst_color_range=span)
    jpeg, width, height = JpegEncoder(95).encode(frame)
    assert (width, height) == (320, 180)
    assert abs(pixels(jpeg).astype(int) - PICTURE).mean() < 4, "another matrix or range is 7 and more away"
    apart = pixels(jpeg).astype(int) - np.asarray(frame.to_image())
    assert abs(apart).mean() < 1.5
    assert abs(apart.mean(axis=(0, 1))).max() < 0.5, "a cast of colour"


def test_a_frame_that_says_nothing_of_its_colours_is_taken_as_ffmpeg_takes_it() -> None:
    frame = frame_of()
    jpeg, *_ = JpegEncoder(95).encode(frame)
    assert abs(pixels(jpeg).astype(int) - np.asarray(frame.to_image())).mean() < 1.5


@pytest.mark.parametrize(
    ("max_side", "aspect", "size"),
    [
        (None, None, (320, 180)),
        (160, None, (160, 90)),
        (1000, None, (320, 180)),
        (None, Fraction(16, 15), (341, 180)),
        (100, Fraction(1, 2), (89, 100)),
        (None, Fraction(100), (320, 180)),
        (16, Fraction(4), (16, 2)),
    ],
)
def test_size(max_side: int | None, aspect: Fraction | None, size: tuple[int, int]) -> None:
    jpeg, width, height = JpegEncoder(90, aspect, max_side).encode(frame_of())
    assert (width, height) == size == pixels(jpeg).shape[1::-1]


def test_odd_sizes_lose_no_edge() -> None:
    picture = np.ascontiguousarray(PICTURE[:101, :77])
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv444p")
    jpeg, *_ = JpegEncoder(95).encode(frame)
    assert abs(pixels(jpeg).astype(int) - picture).mean() < 3


def _decode(mp4: bytes, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    path.write_bytes(mp4)
    with av.open(path) as container:
        return pixels(JpegEncoder(95).encode(next(container.decode(video=0)))[0])


def _mirrored(mp4: bytes, *matrix: int) -> bytes:
    a, b, c, d = matrix
    at = mp4.index(b"tkhd") + 44
    return mp4[:at] + struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30) + mp4[at + 36 :]


def test_every_display_matrix_is_followed(tmp_path_factory: pytest.TempPathFactory) -> None:
    mp4 = Clip("stored", seconds=0.2).encode()
    stored = _decode(mp4, tmp_path_factory)
    expected = {
        turn(mp4, 90): np.rot90(stored, -1),
        turn(mp4, 180): np.rot90(stored, 2),
        turn(mp4, 270): np.rot90(stored, 1),
        _mirrored(mp4, -1, 0, 0, 1): stored[:, ::-1],
        _mirrored(mp4, 1, 0, 0, -1): stored[::-1],
        _mirrored(mp4, 0, 1, 1, 0): stored.swapaxes(0, 1),
        _mirrored(mp4, 0, -1, -1, 0): np.rot90(stored, 2).swapaxes(0, 1),
    }
    for turned, picture in expected.items():
        shown = _decode(turned, tmp_path_factory)
        assert shown.shape == picture.shape
        assert abs(shown.astype(int) - picture).mean() < 3
