"""From a decoded frame to a JPEG as a player would show it: upright, square pixels, right colours."""

from fractions import Fraction
from typing import Any

import numpy as np
import simplejpeg
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter

_BELIEVED = (Fraction(1, 4), Fraction(4))
"""Shapes of a pixel (width by height); anything beyond is a broken header."""
Matrix = tuple[int, int, int, int]
"""a, b, c, d of a display matrix: a stored point (x, y) is shown at (a*x + c*y, b*x + d*y)."""


class JpegEncoder:
    """Encodes the frames of one video.

    Converts by the frame's own matrix and range: BT.601 and limited where it names none, as FFmpeg takes it. By way of
    RGB, because swscale does that faster than stretching planes to full range, and chroma comes out as it went in.
    """

    def __init__(self, quality: int, aspect: Fraction | None = None, max_side: int | None = None):
        """`aspect` is the shape of one pixel of the frames; `max_side` is in pixels of the JPEGs."""
        self.quality, self.max_side = quality, max_side
        self.aspect = aspect if aspect and _BELIEVED[0] <= aspect <= _BELIEVED[1] else Fraction(1)
        self._reformatter = VideoReformatter()
        self._matrices: dict[int, Matrix] = {}

    def encode(self, frame: Any) -> tuple[bytes, int, int]:
        """The JPEG (JFIF, BT.601, full range), its width and its height."""
        width, height = self._size(frame)
        rgb = self._reformatter.reformat(
            frame, width, height, "rgb24", dst_color_range="JPEG", interpolation="AREA", threads=1
        )
        plane: Any = rgb.planes[0]
        lines = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
        picture = _upright(lines[:, : width * 3].reshape(height, width, 3), self._matrix(frame))
        pixels = np.ascontiguousarray(picture)
        data = simplejpeg.encode_jpeg(pixels, self.quality, colorsubsampling=_subsampling(frame.format))
        return data, pixels.shape[1], pixels.shape[0]

    def _size(self, frame: Any) -> tuple[int, int]:
        """Width and height in square pixels of the frame before it is turned."""
        width, height = frame.width * self.aspect, Fraction(frame.height)
        longest = max(width, height)
        scale = min(Fraction(1), self.max_side / longest) if self.max_side else Fraction(1)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _matrix(self, frame: Any) -> Matrix:
        """The frame's display matrix; read once for each rotation, because reading it keeps the frame in memory."""
        if frame.rotation not in self._matrices:
            data = frame.side_data.get(Type.DISPLAYMATRIX)
            a, b, _, c, d, *_ = np.frombuffer(data, np.int32).tolist() if data else (1, 0, 0, 0, 1)
            self._matrices[frame.rotation] = a, b, c, d
        return self._matrices[frame.rotation]


def _upright(pixels: np.ndarray, matrix: Matrix) -> np.ndarray:
    """The picture (height, width, 3) turned by quarters, and mirrored, as its display matrix says."""
    a, b, c, d = matrix
    if abs(a) + abs(d) >= abs(b) + abs(c):
        across, down = a, d
    else:
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def _subsampling(pixels: Any) -> str:
    """4:2:0 where chroma has half the lines and half the columns, else all of it."""
    return "420" if pixels.chroma_width(2) == pixels.chroma_height(2) == 1 else "444"
