"""A picture tower and a text tower that agree on colours and shapes, in the form of SigLIP 2's exports."""

import numpy as np
from onnx import ModelProto

from lodestream.models.card import Raw
from lodestream.models.drawn.blobs import EACH, find_blobs
from lodestream.models.drawn.pen import Pen
from lodestream.models.drawn.words import COLOURS, SHAPES, UNKNOWN, siglip_words, table

DIM, SIDE, TOKENS, PATCHES, LENGTH = 768, 224, 196, 8, 64
ALONE = 0.7
"""Weight of a colour or a shape by itself, next to that of the two together."""
CONTENT = 0.05
"""Weight of what else is in a picture: it sets pictures apart, and no text speaks of it."""
PAIRS, C, S = len(COLOURS) * len(SHAPES), len(COLOURS), len(SHAPES)


def image_tower(raw: Raw) -> ModelProto:
    """Pictures (n, 3, 224, 224) between -1 and 1 to embeddings (n, 768)."""
    pen = Pen()
    pixels = pen("Add", pen("Mul", "pixel_values", 0.5), 0.5)
    shapes = find_blobs(pen, pixels, SIDE).shapes
    pairs = pen.most(pen.reshape(shapes, 0, C, EACH, S), 2, keep=False)
    seen = pen("Concat", pen.reshape(pairs, 0, PAIRS), _alone(pen, pen.most(pairs, 2, keep=False)), axis=1)
    seen = pen("Concat", seen, _alone(pen, pen.most(pairs, 1, keep=False)), axis=1)
    step = SIDE // PATCHES
    patches = pen("AveragePool", "pixel_values", kernel_shape=[step, step], strides=[step, step])
    content = pen.reshape(pen("Mul", patches, CONTENT), 0, 3 * PATCHES**2)
    return _towered(pen, "vision", pen("Concat", seen, content, axis=1), PAIRS + C + S + 3 * PATCHES**2, TOKENS, raw)


def text_tower(raw: Raw) -> ModelProto:
    """Texts (n, 64) to embeddings (n, 768) in the same space."""
    ids = siglip_words()
    pen = Pen()
    rows = pen("Gather", table(ids, max(ids.values()) + 1, [UNKNOWN]), "input_ids")
    colours, shapes = pen.cut(rows, 0, C, 2), pen.cut(rows, C, C + S, 2)
    padded = pen("Pad", shapes, pen.constant([0, 0, 0, 0, 2, 0], "int64"))
    after = pen("Max", pen.cut(padded, 1, LENGTH + 1, 1), pen.cut(padded, 2, LENGTH + 2, 1))
    pairs = pen.above(
        pen("MatMul", pen("Transpose", colours, perm=[0, 2, 1]), after), 0.5
    )  # "red ball", "red big ball"
    lone = [
        pen("Mul", pen.above(pen.total(each, 1, keep=False), 0.5), pen("Sub", 1.0, pen.most(pairs, axis, keep=False)))
        for each, axis in ((colours, 2), (shapes, 1))
    ]
    known = pen("Concat", pen.reshape(pairs, 0, PAIRS), *lone, axis=1)
    nothing = pen("Sub", 1.0, pen("Min", pen.total(known, 1), 1.0))
    strange = pen("Min", pen.total(pen.cut(rows, C + S, C + S + 1, 2), 1, keep=False), 1.0)
    other = pen("Add", pen("Mul", strange, 0.5), nothing)
    gap = pen("Pad", other, pen.constant([0, 3 * PATCHES**2, 0, 0], "int64"))
    return _towered(pen, "text", pen("Concat", known, gap, axis=1), PAIRS + C + S + 3 * PATCHES**2 + 1, LENGTH, raw)


def _alone(pen: Pen, seen: str) -> str:
    return pen("Mul", seen, ALONE)


def _towered(pen: Pen, name: str, known: str, length: int, tokens: int, raw: Raw) -> ModelProto:
    """With both outputs: the embedding filled up to its length, and the same for every token."""
    pen("Pad", known, pen.constant([0, 0, 0, DIM - length], "int64"), output="pooler_output")
    each = pen("Unsqueeze", "pooler_output", pen.constant([1], "int64"))
    pen("Mul", each, np.ones((1, tokens, 1), np.float32), output="last_hidden_state")
    return pen.export(name, raw.inputs, raw.outputs)
