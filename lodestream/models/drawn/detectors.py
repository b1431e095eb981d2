"""Detectors that find coloured blobs, in the form of Grounding DINO's and D-FINE's exports."""

import numpy as np
from onnx import ModelProto

from lodestream.models.card import Raw
from lodestream.models.drawn.blobs import COUNT, EACH, Blobs, find_blobs
from lodestream.models.drawn.pen import Pen
from lodestream.models.drawn.words import BERT_SIZE, BERT_STOP, COLOURS, SHAPES, bert_words, table

SIDE = 256
NO = -6.0
"""Logit of a query that found nothing."""
C, S = len(COLOURS), len(SHAPES)


def open_detector(raw: Raw, mean: tuple[float, ...], std: tuple[float, ...]) -> ModelProto:
    """Pictures and the phrases asked for, to a logit for each query and token: high where all its phrase says is so."""
    queries, tokens = (int(size) for size in raw.outputs[0].shape[1:])
    pen = Pen()
    spread = [np.array(values, np.float32)[:, None, None] for values in (std, mean)]
    pixels = pen("Add", pen("Mul", "pixel_values", spread[0]), spread[1])
    blobs = find_blobs(pen, pixels, SIDE)
    real = pen("Cast", pen("Greater", "attention_mask", pen.constant(0, "int64")), to=1)
    fits = _fitting(pen, blobs, real)
    logits = pen("Add", pen("Mul", fits, pen("Sub", _certain(pen, blobs), NO)), NO)  # (n, COUNT, length)
    logits = pen("Pad", logits, pen.constant([0, 0, 0, 0, queries - COUNT, 0], "int64"), NO)
    shown = pen("Unsqueeze", pen("Greater", real, 0.5), pen.constant([1], "int64"))
    logits = pen("Where", shown, logits, -np.inf)
    free = pen("Sub", pen.constant([tokens], "int64"), pen("Shape", "input_ids", start=1, end=2))
    rest = pen("Concat", pen.constant([0] * 5, "int64"), free, axis=0)
    pen("Pad", logits, rest, -np.inf, output="logits")
    _boxes(pen, blobs, queries)
    return pen.export("grounding", raw.inputs, raw.outputs)


def closed_detector(raw: Raw, classes: dict[str, int]) -> ModelProto:
    """Pictures to a logit for each query and class; `classes` names those of the shapes."""
    queries, count = (int(size) for size in raw.outputs[0].shape[1:])
    pen = Pen()
    blobs = find_blobs(pen, "pixel_values", SIDE)
    place = np.zeros((S, count), np.float32)
    place[range(S), [classes[shape] for shape in SHAPES]] = 1
    fits = pen("MatMul", blobs.shapes, place)
    logits = pen("Add", pen("Mul", fits, pen("Sub", _certain(pen, blobs), NO)), NO)
    pen("Pad", logits, pen.constant([0, 0, 0, 0, queries - COUNT, 0], "int64"), NO, output="logits")
    _boxes(pen, blobs, queries)
    return pen.export("dfine", raw.inputs, raw.outputs)


def _fitting(pen: Pen, blobs: Blobs, real: str) -> str:
    """1 where the phrase of a token speaks of a blob: (n, COUNT, tokens)."""
    ids = bert_words()
    strange = [number for word, number in ids.items() if word == "[UNK]" or len(word.removeprefix("##")) == 1]
    means = table(ids, BERT_SIZE, [number for number in strange if number != BERT_STOP and number != ids["a"]])
    rows = pen("Gather", means, "input_ids")
    stop = pen.number(pen("Equal", "input_ids", pen.constant(BERT_STOP, "int64")))
    phrase = pen("CumSum", stop, pen.constant(1, "int64"))
    one, other = (pen("Unsqueeze", phrase, pen.constant([axis], "int64")) for axis in (1, 2))
    together = pen.number(pen("Equal", one, other))
    said = pen.above(pen("MatMul", together, rows), 0.5)  # of each token, what its phrase says
    colours, shapes, unknown = (pen.cut(said, *ends, 2) for ends in ((0, C), (C, C + S), (C + S, C + S + 1)))
    own = np.zeros((C, COUNT), np.float32)
    own[np.arange(COUNT) // EACH, np.arange(COUNT)] = 1
    seen = pen("Transpose", blobs.shapes, perm=[0, 2, 1])
    right = pen("Mul", _or_unsaid(pen, colours, own), _or_unsaid(pen, shapes, seen))
    right = pen("Mul", right, pen.most(seen, 1))
    asked = pen("Mul", pen.most(pen.cut(said, 0, C + S, 2), 2), pen("Sub", 1.0, unknown))
    word = pen("Mul", pen.most(rows, 2), pen("Unsqueeze", real, pen.constant([2], "int64")))
    return pen("Transpose", pen("Mul", right, pen("Mul", asked, word)), perm=[0, 2, 1])


def _or_unsaid(pen: Pen, said: str, has: object) -> str:
    """1 where a blob has what is said, or nothing is said of the kind: (n, tokens, COUNT)."""
    return pen.above(pen("Add", pen("MatMul", said, has), pen("Sub", 1.0, pen.most(said, 2))), 0.5)


def _certain(pen: Pen, blobs: Blobs) -> str:
    """The logit of a find: 1.5 for a speck to 4 for what fills a quarter of the picture, (n, COUNT, 1)."""
    sure = pen("Add", pen("Mul", pen("Min", blobs.area, 0.25), 10.0), 1.5)
    return pen("Unsqueeze", sure, pen.constant([2], "int64"))


def _boxes(pen: Pen, blobs: Blobs, queries: int) -> None:
    """Centre, width and height of every query's box; a tiny one in the middle where there is none."""
    left, top, right, bottom = blobs.edges
    middles = [pen("Mul", pen("Add", low, high), 0.5) for low, high in ((left, right), (top, bottom))]
    sizes = [pen("Sub", high, low) for low, high in ((left, right), (top, bottom))]
    axis = pen.constant([2], "int64")
    found = pen("Concat", *(pen("Unsqueeze", each, axis) for each in (*middles, *sizes)), axis=2)
    there = pen("Unsqueeze", pen("Greater", blobs.area, 0.0), axis)
    found = pen("Where", there, found, np.array([0.5, 0.5, 0.01, 0.01], np.float32))
    pen("Pad", found, pen.constant([0, 0, 0, 0, queries - COUNT, 0], "int64"), 0.01, output="pred_boxes")
