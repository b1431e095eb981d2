"""A model and what it is asked: what goes to Triton for a picture, and what its answer says of each label."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from lodestream.errors import LodeError, Malformed, Outage

if TYPE_CHECKING:
    import numpy as np

    from lodestream.models.card import Card
    from lodestream.models.shelf import Shelf
    from services.detect.caption import Caption

OUTPUTS = ("logits", "pred_boxes")
ROLES = ("open-detector", "detector")
DIGITS = 16
"""Hex digits of a version."""
ENDS = (".", "?")
"""What Grounding DINO takes for the end of a phrase: the words on either side do not look at each other."""
COMMIT = re.compile(r"[0-9a-f]{40}")
FEW = 20
"""Labels that an error lists."""


@dataclass(frozen=True)
class Detector:
    """A detector that was asked for some labels."""

    card: "Card"
    version: str
    """The commit that the model is of, or the beginning of its file's SHA-256 where it is of none."""
    caption: "Caption | None"
    """What an open detector reads; a closed one reads nothing."""
    columns: "list[int]"
    """The classes of a closed detector that are asked for."""

    @property
    def name(self) -> str:
        """What Triton calls it."""
        return self.card.parts["detector"]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What one row of each output is to be like; -1 is any number."""
        raw = self.card.raw["detector"]
        rows = {
            each.name: tuple(size if isinstance(size, int) else -1 for size in each.shape[1:]) for each in raw.outputs
        }
        return {ours: rows[name] for name, ours in raw.gives.items()}

    def inputs(self, pictures: "np.ndarray") -> "dict[str, np.ndarray]":
        """What Triton is sent for pictures (n, height, width, RGB)."""
        return {"image": pictures} | (self.caption.inputs(len(pictures)) if self.caption else {})

    def scores(self, logits: "np.ndarray") -> "np.ndarray":
        """Of one picture: a row for each query, a column for each label."""
        from services.detect.scores import closed, grounded

        return grounded(logits, self.caption.spans) if self.caption else closed(logits, self.columns)


def prepared(shelf: "Shelf", model: str, labels: Sequence[str]) -> Detector:
    """The detector, ready to be asked.

    Raises Outage where it is not installed, with how to get it, and Malformed where it cannot be asked for that.
    """
    from lodestream.models.shelf import MODEL, record
    from services.detect.caption import tokenised

    try:
        card = shelf.card(model)
        check(card, labels)
        pinned = COMMIT.fullmatch(card.revision)
        version = pinned[0] if pinned else record(shelf.folder / card.parts["detector"])[MODEL][:DIGITS]
        tokenizer = shelf.tokenizer(model) if card.role == "open-detector" else None
    except (LodeError, OSError) as error:  # somebody may be removing it
        raise Outage(str(error)) from None
    if tokenizer is None:
        return Detector(card, version, None, [card.labels.index(label) for label in labels])
    return Detector(card, version, tokenised(labels, tokenizer, card.text_length, card.text_pad), [])


def check(card: "Card", labels: Sequence[str]) -> None:
    """Raises Malformed where a model is no detector, or cannot be asked for a label; names the nearest that it can."""
    if card.role not in ROLES:
        raise Malformed("no detector", f"{card.name} gives no boxes: it is for {card.role}")
    for label in labels:
        if card.role == "open-detector" and any(mark in label for mark in ENDS):
            raise Malformed("bad label", f"{label!r}: {' and '.join(ENDS)} end a label for {card.name}; leave them out")
        if card.role == "detector" and label not in card.labels:
            raise Malformed("unknown label", f"{card.name} does not know {label!r}{nearest(label, card.labels)}")


def nearest(label: str, known: Sequence[str]) -> str:
    """The labels nearest to one that there is not, or some of those that there are, for the end of a sentence."""
    if near := get_close_matches(label, known, 3, 0.5):
        return f"; nearest: {', '.join(near)}"
    return f"; there are: {', '.join(known[:FEW])}" + (", ..." if len(known) > FEW else "")
