"""From what a detector says of one picture to the boxes that are published: pixels, thresholds, overlaps, order."""

from typing import NamedTuple

import numpy as np

DIGITS = 4
"""Decimals of a score."""


class Found(NamedTuple):
    """The boxes in one picture, best first; the lists are parallel."""

    boxes: list[tuple[float, float, float, float]]
    """x1, y1, x2, y2 in pixels of the stored frame, inside it, to a tenth."""
    labels: list[int]
    """Which of the labels that were asked for."""
    scores: list[float]


def choose(
    scores: np.ndarray,
    centred: np.ndarray,
    least: np.ndarray,
    size: tuple[int, int],
    overlap: float,
    most: int,
) -> Found:
    """The boxes that count, of one picture of `size` (width, height).

    `scores` has a row for each query and a column for each label, `centred` a box for each query (middle and size, each
    0 to 1), `least` the threshold of each label. Of two boxes with one label that overlap by more than `overlap`
    (intersection over union; 1 lets all stand) only the better stands. At most `most` boxes.
    """
    query, label = np.nonzero(scores >= least)
    order = np.argsort(-scores[query, label], kind="stable")[: len(scores)]  # no more than queries, as DETR-likes do
    query, label = query[order], label[order]
    corners = in_pixels(centred[query], *size)
    seen = np.nonzero((corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1]))[0]
    stay = seen[best_of_overlapping(corners[seen], label[seen], overlap)][:most]
    return Found(
        [tuple(box) for box in corners[stay].tolist()],
        label[stay].tolist(),
        [round(score, DIGITS) for score in scores[query[stay], label[stay]].tolist()],
    )


def in_pixels(centred: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes as corners (x1, y1, x2, y2), cut at the edges of the picture and rounded to a tenth of a pixel."""
    middle, half = centred[:, :2].astype(np.float64), centred[:, 2:].astype(np.float64) / 2
    side = np.array([width, height], np.float64)
    corners = np.concatenate([(middle - half) * side, (middle + half) * side], axis=1)
    return np.round(np.clip(corners, 0, np.tile(side, 2)), 1)


def best_of_overlapping(corners: np.ndarray, label: np.ndarray, overlap: float) -> np.ndarray:
    """Indices of the boxes, given best first, that no better one with the same label overlaps by more than `overlap`.

    A box that is beaten itself beats nothing.
    """
    if overlap >= 1 or len(corners) < 2:
        return np.arange(len(corners))
    rivals = (shares(corners, corners) > overlap) & (label[:, None] == label)
    stays = np.ones(len(corners), bool)
    for better in range(len(corners) - 1):
        if stays[better]:
            stays[better + 1 :] &= ~rivals[better, better + 1 :]
    return np.nonzero(stays)[0]


def shares(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each of `some` boxes (x1, y1, x2, y2) with each of the others."""
    corner = np.maximum(some[:, None, :2], others[:, :2])
    sides = np.clip(np.minimum(some[:, None, 2:], others[:, 2:]) - corner, 0, None)
    common = sides[..., 0] * sides[..., 1]
    return common / (_area(some)[:, None] + _area(others) - common)


def _area(corners: np.ndarray) -> np.ndarray:
    return (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
