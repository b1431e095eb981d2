"""Finds blobs of one colour in a picture, and says of each where it is and what shape it has; no weight is learnt."""

from dataclasses import dataclass

import numpy as np

from lodestream.models.drawn.pen import Pen
from lodestream.models.drawn.words import COLOURS, NAMELESS, SHADES, SHAPES

EACH = 6
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
    mask = _opened(pen, _coloured(pen, pen("AveragePool", pixels, kernel_shape=[2, 2], strides=[2, 2])))
    number = np.arange(1, cells * cells + 1, dtype=np.float32).reshape(cells, cells)
    labels = pen("Mul", mask, number)
    for _ in range(cells * 3 // 4):  # every cell learns the highest number of its blob from its neighbours
        labels = pen("Mul", _grown(pen, labels), mask)
    roots = pen("Mul", pen("Mul", pen.number(pen("Equal", labels, number)), mask), number)
    highest = pen.top(pen.reshape(roots, 0, 0, -1), EACH)
    one_each = pen("Equal", pen.reshape(labels, 0, len(COLOURS), 1, cells, cells), pen.reshape(highest, 0, 0, 0, 1, 1))
    inside = pen("Mul", pen.number(one_each), pen.reshape(mask, 0, len(COLOURS), 1, cells, cells))
    return _measured(pen, pen.reshape(inside, 0, COUNT, cells, cells), cells)


def _coloured(pen: Pen, pixels: str) -> str:
    """1 where a cell of 2 x 2 pixels has mostly this colour: (n, colours, h, w)."""
    shades = [shade for shades in SHADES.values() for shade in shades] + NAMELESS
    points = np.array(shades, np.float32)
    near = pen("Conv", pixels, 2 * points[:, :, None, None], -(points**2).sum(1))
    nearest = pen.number(pen("Equal", near, pen.most(near, 1)))
    owner = np.zeros((len(COLOURS), len(shades), 1, 1), np.float32)
    owner[[i for i, colour in enumerate(COLOURS) for _ in SHADES[colour]], range(len(shades) - len(NAMELESS))] = 1
    share = pen("AveragePool", pen("Conv", nearest, owner), kernel_shape=[2, 2], strides=[2, 2])
    return pen.above(share, 0.49)


def _grown(pen: Pen, values: str) -> str:
    return pen("MaxPool", values, kernel_shape=[3, 3], pads=[1] * 4)


def _opened(pen: Pen, mask: str) -> str:
    """Without lines thinner than three cells, such as the mixed colours along an edge."""
    core = pen("Neg", _grown(pen, pen("Neg", mask)))
    return pen("Mul", _grown(pen, core), mask)


def _measured(pen: Pen, inside: str, cells: int) -> Blobs:
    rise, fall = np.arange(1, cells + 1, dtype=np.float32), np.arange(cells, 0, -1, dtype=np.float32)
    columns, rows = pen.most(inside, 2, keep=False), pen.most(inside, 3, keep=False)
    ends = [pen.most(pen("Mul", line, ramp), 2, keep=False) for line in (columns, rows) for ramp in (fall, rise)]
    left, right, top, bottom = (
        pen("Div", pen("Sub", float(cells), end) if i % 2 == 0 else end, float(cells)) for i, end in enumerate(ends)
    )
    area = pen("Div", pen.total(inside, 2, 3, keep=False), float(cells * cells))
    width, height = (pen("Max", pen("Sub", high, low), 1e-6) for high, low in ((right, left), (bottom, top)))
    inner = [pen.above(end, 0.01) for end in (left, top)] + [
        pen.number(pen("Less", end, 0.99)) for end in (right, bottom)
    ]
    whole = pen("Greater", pen("Sum", *inner), 2.5)  # what reaches two edges of the picture is what lies behind
    long = pen("Div", width, height)
    compact = pen("And", pen("Less", long, 2.5), pen("Greater", long, 0.4))
    seen = pen("And", pen("And", whole, compact), pen("Greater", area, (LEAST - 0.5) / cells**2))
    shapes = _shapes(pen, inside, cells, (left, top, width, height), pen("Div", area, pen("Mul", width, height)))
    shapes = pen("Mul", shapes, pen("Unsqueeze", pen.number(seen), pen.constant([2], "int64")))
    return Blobs(pen("Mul", area, pen.number(seen)), (left, top, right, bottom), shapes)


def _shapes(pen: Pen, inside: str, cells: int, box: tuple[str, str, str, str], filled: str) -> str:
    """(n, COUNT, shapes) by how much of its rectangle a blob fills, and how evenly."""
    whole = pen("Max", pen.total(inside, 2, 3, keep=False), 1.0)
    middles = ((np.arange(cells) + 0.5) / cells).astype(np.float32)
    off = []
    for axis, start, length in ((2, box[0], box[2]), (3, box[1], box[3])):
        mass = pen("Div", pen("MatMul", pen.total(inside, axis, keep=False), middles), whole)
        off.append(pen("Abs", pen("Sub", pen("Div", pen("Sub", mass, start), length), 0.5)))
    even, full = pen("Less", pen("Max", *off), LOPSIDED), pen("Greater", filled, SQUARE)
    enough = pen("And", pen("Greater", filled, LEAST_FILLED), pen("Not", full))
    kinds = {"ball": pen("And", enough, even), "square": full, "triangle": pen("And", enough, pen("Not", even))}
    each = [pen("Unsqueeze", pen.number(kinds[shape]), pen.constant([2], "int64")) for shape in SHAPES]
    return pen("Concat", *each, axis=2)
