"""From a decoded frame to a JPEG as a player would show it: upright, square pixels, right colours."""

from fractions import Fraction
from typing import Any

import numpy as np
import simplejpeg
from av.sidedata.sidedata import Type

_BELIEVED = (Fraction(1, 4), Fraction(4))
"""Shapes of a pixel (width by height); anything beyond is a broken header."""


def encode(
    frame: Any, quality: int, aspect: Fraction | None = None, max_side: int | None = None
) -> tuple[bytes, int, int]:
    """The JPEG (JFIF, BT.601, full range), its width and its height; `aspect` is that of one pixel of the frame.

    Converts by the frame's own matrix and range: BT.601 and limited where it names none, as FFmpeg takes it. By way of
    RGB, because swscale does that faster than stretching planes to full range, and chroma comes out as it went in.
    """
    width, height = _size(frame, aspect, max_side)
    rgb = frame.reformat(width, height, "rgb24", dst_color_range="JPEG", interpolation="AREA", threads=1)
    plane = rgb.planes[0]
    lines = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
    pixels = np.ascontiguousarray(_upright(lines[:, : width * 3].reshape(height, width, 3), frame))
    data = simplejpeg.encode_jpeg(pixels, quality, colorsubsampling=_subsampling(frame.format))
    return data, pixels.shape[1], pixels.shape[0]


def _size(frame: Any, aspect: Fraction | None, max_side: int | None) -> tuple[int, int]:
    """Width and height in square pixels of the frame before it is turned."""
    width, height = Fraction(frame.width), Fraction(frame.height)
    if aspect and _BELIEVED[0] <= aspect <= _BELIEVED[1]:
        width *= aspect
    scale = min(Fraction(1), max_side / max(width, height)) if max_side else Fraction(1)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """The picture (height, width, 3) turned and mirrored as its display matrix says, in quarter turns.

    The matrix maps a stored point to where it is shown: x' = a*x + c*y, y' = b*x + d*y.
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return pixels
    a, b, _, c, d, *_ = (int(value) for value in np.frombuffer(matrix, np.int32))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        across, down = a, d
    else:
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def _subsampling(pixels: Any) -> str:
    """4:2:0 where chroma has half the lines and half the columns, else all of it."""
    return "420" if pixels.chroma_width(2) == pixels.chroma_height(2) == 1 else "444"
