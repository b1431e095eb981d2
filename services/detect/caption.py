"""What an open detector is asked: the labels as one caption, in tokens, and which tokens are whose."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lodestream.errors import Malformed

BETWEEN = " . "
"""Grounding DINO takes a full stop for the end of a phrase; words of one phrase do not look at those of another."""


@dataclass(frozen=True)
class Caption:
    """A caption in tokens; each array has the length that the model takes."""

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    attention_mask: np.ndarray
    spans: list[list[int]]
    """The places of each label's tokens."""

    def inputs(self, rows: int) -> dict[str, np.ndarray]:
        """The same caption for each of so many pictures."""
        asked = {
            "input_ids": self.input_ids,
            "token_type_ids": self.token_type_ids,
            "attention_mask": self.attention_mask,
        }
        return {name: np.tile(values, (rows, 1)) for name, values in asked.items()}


def text(labels: Sequence[str]) -> str:
    """`red ball . blue square .`"""
    return BETWEEN.join(label.lower() for label in labels) + BETWEEN.rstrip()


def tokenised(labels: Sequence[str], tokenizer: Path, length: int, pad: int = 0) -> Caption:
    """The caption in at most `length` tokens of a tokenizer's file, filled up with `pad`.

    Raises Malformed where the labels are too many, or one has no word in it.
    """
    from tokenizers import Tokenizer

    splitter = Tokenizer.from_file(str(tokenizer))
    splitter.no_truncation()
    splitter.no_padding()
    found = splitter.encode(text(labels))
    if len(found.ids) > length:
        raise Malformed("too many labels", f"they are {len(found.ids)} tokens; the model takes {length}")
    spans = _spans(labels, found.offsets)
    for label, span in zip(labels, spans, strict=True):
        if not span:
            raise Malformed("unknown label", f"{label!r} has no word in it")
    return Caption(
        _filled(found.ids, length, pad), _filled(found.type_ids, length), _filled([1] * len(found.ids), length), spans
    )


def _spans(labels: Sequence[str], offsets: Sequence[tuple[int, int]]) -> list[list[int]]:
    """For each label the tokens that lie within it; `offsets` are where in the text each token begins and ends."""
    spans, begin = [], 0
    for label in labels:
        end = begin + len(label.lower())
        spans.append([place for place, (first, last) in enumerate(offsets) if begin <= first < last <= end])
        begin = end + len(BETWEEN)
    return spans


def _filled(values: Sequence[int], length: int, with_: int = 0) -> np.ndarray:
    filled = np.full(length, with_, np.int64)
    filled[: len(values)] = values
    return filled
