"""The verdicts on frames, in their order: each is new unless a frame that was kept before it is too similar."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class Measure(Protocol):
    """A way to say how similar frames are, and the kept frames by it."""

    name: str
    threshold: float
    """Similarity from which on a frame repeats another."""

    def add(self, rows: np.ndarray) -> None:
        """Keep rows."""

    def drop(self, numbers: np.ndarray) -> None:
        """Take kept rows out of the search."""

    def shown(self, rows: np.ndarray) -> Any:
        """Rows as the questions below take them; parts can be taken of it as of an array."""

    def nearest(self, asked: Any) -> tuple[np.ndarray, np.ndarray]:
        """Number and similarity of the nearest kept row over the threshold; number -1 where there is none."""

    def within(self, rows: Any) -> np.ndarray:
        """Similarities (n, n) of rows among themselves."""

    def against(self, rows: Any, numbers: np.ndarray) -> np.ndarray:
        """Similarities (n, k) of rows and of kept ones."""


class Verdicts(NamedTuple):
    """One element for each frame; what `keep` says is new is not a row yet."""

    keep: np.ndarray
    row: np.ndarray
    """Number of the kept row that a frame repeats; -1 where it repeats none of them."""
    frame: np.ndarray
    """Otherwise the place, among these frames, of the one that it repeats; -1 where it repeats none."""
    similarity: np.ndarray
    by: np.ndarray
    """Index of the measure that says so."""


def greedy(over: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Which of the frames that are `alive` stay: in order, each unless one that stays before it is `over` (n, n)."""
    keep, alive = np.zeros(len(over), bool), alive.copy()
    for i in range(len(over)):
        if alive[i]:
            keep[i] = True
            alive[i + 1 :] &= ~over[i, i + 1 :]
    return keep


def decide(measures: Sequence[Measure], frames: Sequence[np.ndarray], usable: np.ndarray) -> Verdicts:
    """Exactly what one by one would give: a frame repeats another if any measure says so, the first that does counts.

    `frames` has the rows (n, ...) of each measure; those not `usable` get no verdict. Only frames that would be kept
    if there were no others ask the index; what these repeat is then tried on the rest: two rounds as a rule.
    """
    size = len(usable)
    row, frame, by = np.full(size, -1), np.full(size, -1), np.zeros(size, np.int8)
    similarity = np.zeros(size, np.float32)
    shown = [measure.shown(rows) for measure, rows in zip(measures, frames, strict=True)]
    inside = [measure.within(rows) for measure, rows in zip(measures, shown, strict=True)]
    over = _either(inside, measures)
    asked = ~usable
    while (ask := np.flatnonzero((keep := greedy(over, usable & (row < 0))) & ~asked)).size:
        asked[ask] = True
        for which, (measure, rows) in enumerate(zip(measures, shown, strict=True)):
            if (todo := ask[row[ask] < 0]).size:
                row[todo], similarity[todo] = measure.nearest(rows[todo])
                by[todo] = which
        if (found := np.unique(row[ask][row[ask] >= 0])).size:
            _try_on_the_rest(measures, shown, found, ~asked, row, similarity, by)
    _name_earlier(inside, measures, keep, usable & ~keep & (row < 0), frame, similarity, by)
    return Verdicts(keep, row, frame, similarity, by)


def _either(inside: Sequence[np.ndarray], measures: Sequence[Measure]) -> np.ndarray:
    over = inside[0] >= measures[0].threshold
    for cosines, measure in zip(inside[1:], measures[1:], strict=True):
        over = over | (cosines >= measure.threshold)
    return over


def _try_on_the_rest(
    measures: Sequence[Measure],
    shown: Sequence[Any],
    found: np.ndarray,
    rest: np.ndarray,
    row: np.ndarray,
    similarity: np.ndarray,
    by: np.ndarray,
) -> None:
    """Frames of one scene repeat the same kept frame: most need not ask."""
    for which, (measure, rows) in enumerate(zip(measures, shown, strict=True)):
        todo = np.flatnonzero(rest & (row < 0))
        similar = measure.against(rows[todo], found)
        best = similar.argmax(axis=1)
        most = similar[np.arange(len(todo)), best]
        hit = most >= measure.threshold
        row[todo[hit]], similarity[todo[hit]], by[todo[hit]] = found[best[hit]], most[hit], which


def _name_earlier(
    inside: Sequence[np.ndarray],
    measures: Sequence[Measure],
    keep: np.ndarray,
    todo: np.ndarray,
    frame: np.ndarray,
    similarity: np.ndarray,
    by: np.ndarray,
) -> None:
    """For frames that are over the threshold with one kept before them here: the most similar of those."""
    places, kept = np.flatnonzero(todo), np.flatnonzero(keep)
    if not len(places):
        return
    before = kept[None, :] < places[:, None]
    for which, (similar, measure) in enumerate(zip(inside, measures, strict=True)):
        seen = np.where(before, similar[np.ix_(places, kept)], -1)
        best = seen.argmax(axis=1)
        most = seen[np.arange(len(places)), best]
        hit = (most >= measure.threshold) & (frame[places] < 0)
        at = places[hit]
        frame[at], similarity[at], by[at] = kept[best[hit]], most[hit], which
