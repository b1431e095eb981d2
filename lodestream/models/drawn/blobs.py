"""Finds blobs of one colour in a picture, and says of each where it is and what shape it has; no weight is learnt."""

from dataclasses import dataclass

import numpy as np

from lodestream.models.drawn.pen import Pen
from lodestream.models.drawn.words import COLOURS, NAMELESS, SHADES, SHAPES

EACH = 4
"""Blobs of each colour that are looked at."""
COUNT = EACH * len(COLOURS)
"""Blobs in all; blob number i has the colour i // EACH."""
LEAST = 9
"""Cells of the smallest blob, of about 60 x 60 that a picture has."""
SQUARE, LEAST_FILLED = 0.89, 0.4
"""How much of the rectangle around it a square fills at least, and anything that has a shape."""
LOPSIDED = 0.07
"""How far from the middle of that rectangle, in parts of it, the middle of a triangle lies at least."""


@dataclass(frozen=True)
class Blobs:
    """The names of their values in the graph; n pictures, COUNT blobs in each."""

    area: str
    """(n, COUNT) share of the picture, 0 where there is no such blob."""
    edges: tuple[str, str, str, str]
    """Left, top, right, bottom: each (n, COUNT) between 0 and 1."""
    shapes: str
    """(n, COUNT, shapes) 1 for the shape that it has."""


def find_blobs(pen: Pen, pixels: str, side: int) -> Blobs:
    """The blobs of pixels (n, 3, side, side) between 0 and 1. `side` is a multiple of 4."""
    cells = side // 4
    share = _coloured(pen, pen("AveragePool", pixels, kernel_shape=[2, 2], strides=[2, 2]))
    mask = _opened(pen, pen.above(share, 0.49))
    number = np.arange(1, cells * cells + 1, dtype=np.float32).reshape(cells, cells)
    labels = pen("Mul", mask, number)
    for _ in range(cells * 3 // 8):  # every cell learns the highest number of its blob from those two steps away
        rows = pen("MaxPool", labels, kernel_shape=[1, 5], pads=[0, 2, 0, 2])
        labels = pen("Mul", pen("MaxPool", rows, kernel_shape=[5, 1], pads=[2, 0, 2, 0]), mask)
    roots = pen("Mul", pen("Mul", pen.number(pen("Equal", labels, number)), mask), number)
    highest = pen.top(pen.reshape(roots, 0, 0, -1), EACH)
    one_each = pen("Equal", pen.reshape(labels, 0, len(COLOURS), 1, cells, cells), pen.reshape(highest, 0, 0, 0, 1, 1))
    inside = pen("Mul", pen.number(one_each), pen.reshape(mask, 0, len(COLOURS), 1, cells, cells))
    inside = pen.reshape(inside, 0, COUNT, cells, cells)
    near = pen.reshape(_grown(pen, inside), 0, len(COLOURS), EACH, cells, cells)
    soft = pen("Mul", near, pen.reshape(share, 0, len(COLOURS), 1, cells, cells))
    return _measured(pen, inside, pen.reshape(soft, 0, COUNT, cells, cells), cells)


def _coloured(pen: Pen, pixels: str) -> str:
    """How much of a cell of 2 x 2 pixels has this colour: (n, colours, h, w)."""
    shades = [shade for shades in SHADES.values() for shade in shades] + NAMELESS
    points = np.array(shades, np.float32)
    near = pen("Conv", pixels, 2 * points[:, :, None, None], -(points**2).sum(1))
    nearest = pen.number(pen("Equal", near, pen.most(near, 1)))
    owner = np.zeros((len(COLOURS), len(shades), 1, 1), np.float32)
    owner[[i for i, colour in enumerate(COLOURS) for _ in SHADES[colour]], range(len(shades) - len(NAMELESS))] = 1
    return pen("AveragePool", pen("Conv", nearest, owner), kernel_shape=[2, 2], strides=[2, 2])


def _grown(pen: Pen, values: str) -> str:
    return pen("MaxPool", values, kernel_shape=[3, 3], pads=[1] * 4)


def _opened(pen: Pen, mask: str) -> str:
    """Without lines thinner than three cells, such as the mixed colours along an edge."""
    core = pen("Neg", _grown(pen, pen("Neg", mask)))
    return pen("Mul", _grown(pen, core), mask)


def _measured(pen: Pen, inside: str, soft: str, cells: int) -> Blobs:
    """What is known of blobs by the cells that are theirs, and by how much of each cell and its neighbours is."""
    area = pen("ReduceMean", soft, axes=[2, 3], keepdims=0)
    across, down = (_extent(pen, soft, axis, area, cells) for axis in (2, 3))
    long = pen("Div", across.length, down.length)
    compact = pen("And", pen("Less", long, 2.5), pen("Greater", long, 0.4))
    seen = pen("And", pen("And", _whole(pen, inside, cells), compact), pen("Greater", area, (LEAST - 0.5) / cells**2))
    filled = pen("Div", area, pen("Mul", across.length, down.length))
    even, full = pen("Less", pen("Max", across.off, down.off), LOPSIDED), pen("Greater", filled, SQUARE)
    enough = pen("And", pen("Greater", filled, LEAST_FILLED), pen("Not", full))
    kinds = {"ball": pen("And", enough, even), "square": full, "triangle": pen("And", enough, pen("Not", even))}
    shapes = [pen("Unsqueeze", pen.number(pen("And", seen, kinds[s])), pen.constant([2], "int64")) for s in SHAPES]
    edges = (across.start, down.start, across.end, down.end)
    return Blobs(pen("Mul", area, pen.number(seen)), edges, pen("Concat", *shapes, axis=2))


@dataclass(frozen=True)
class Extent:
    """Of blobs, in one direction; each (n, COUNT), in parts of the picture."""

    start: str
    end: str
    length: str
    off: str
    """How far the middle of what is filled lies from the middle of the extent, in parts of that."""


def _extent(pen: Pen, soft: str, axis: int, area: str, cells: int) -> Extent:
    """Along the axis that is left when `axis` is folded."""
    places = ((np.arange(cells) + 0.5) / cells).astype(np.float32)
    line, mass = pen.most(soft, axis, keep=False), pen("ReduceMean", soft, axes=[axis], keepdims=0)
    length = pen("Max", pen("ReduceMean", line, axes=[2], keepdims=0), 1e-6)
    middle = pen("Div", pen("MatMul", line, places / cells), length)
    balance = pen("Div", pen("MatMul", mass, places / cells), pen("Max", area, 1e-6))
    half = pen("Mul", length, 0.5)
    off = pen("Div", pen("Abs", pen("Sub", balance, middle)), length)
    return Extent(pen("Sub", middle, half), pen("Add", middle, half), length, off)


def _whole(pen: Pen, inside: str, cells: int) -> str:
    """True where a blob reaches one edge of the picture at most: what reaches more is what lies behind."""
    lines = [pen.most(inside, axis, keep=False) for axis in (2, 3)]
    ends = [pen.cut(line, end, end + 1, 2) for line in lines for end in (0, cells - 1)]
    return pen("Less", pen.reshape(pen("Sum", *ends), 0, COUNT), 1.5)
