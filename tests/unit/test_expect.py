"""What the demo expects, and that it says every way in which an outcome differs."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from lodestream.demo import pages
from lodestream.demo.expect import differences, expected, overlap


def test_an_outcome_as_expected_has_no_differences() -> None:
    assert differences(expected(), expected()) == []


def test_every_video_is_expected_once_and_the_torn_one_to_where_it_is_torn() -> None:
    frames = expected().frames
    assert len(frames) == 14
    assert max(frames[pages.TORN]) < pages.TORN_SECONDS * 1000 < max(frames[pages.TORN]) + 1000
    assert pages.COPY not in frames


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"offered": 3}, "offered: 18 expected, 3 found"),
        ({"candidates": 15}, "candidates: 17 expected, 15 found"),
        ({"damaged": frozenset()}, "damaged: /videos/torn.mp4 expected, none found"),
        ({"unique": 16}, "unique: 5 expected, 16 found"),
        (
            {"boxes": Counter({"red ball": 3, "red ball where there is none": 1})},
            "boxes: 4 red ball, 1 yellow ball expected, 3 red ball, 1 red ball where there is none found",
        ),
        ({"dead": Counter({"seeds": 2})}, "dead: 1 seeds expected, 2 seeds found"),
        (
            {"rejected": Counter({"get: gone": 3})},
            "rejected: 1 get: duplicate, 1 get: fake, 1 get: gone, 12 good: empty after filter, 1 new: all duplicates "
            "expected, 3 get: gone found",
        ),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], said: str) -> None:
    assert differences(expected(), replace(expected(), **change)) == [said]


def test_what_is_kept_is_the_film_of_the_toys_and_its_copy() -> None:
    kept = expected().kept
    assert kept == {path: [second * 1000 for second in range(7)] for path in (pages.TABLE, pages.TABLE_SMALL)}


@pytest.mark.parametrize(
    ("box", "said"),
    [((10, 10, 20, 20), 1.0), ((15, 10, 25, 20), 1 / 3), ((20, 10, 30, 20), 0.0), ((40, 40, 50, 50), 0.0)],
)
def test_the_overlap_of_boxes_is_what_they_share_of_both(box: tuple[int, ...], said: float) -> None:
    assert overlap((10, 10, 20, 20), box) == pytest.approx(said)


def test_frames_that_are_missing_shifted_or_strange_are_said() -> None:
    frames = expected().frames
    had = {**frames, pages.PLAIN: [0, 1000], "/strange.mp4": [40]}
    del had["/podcast/one.mp4"]
    assert differences(expected(), replace(expected(), frames=had)) == [
        "/podcast/one.mp4: frames at [0, 1000, 2000, 3000, 4000] ms expected, at [] ms found",
        "/strange.mp4: frames at [] ms expected, at [40] ms found",
        f"/videos/harbour.mp4: frames at {frames[pages.PLAIN]} ms expected, at [0, 1000] ms found",
    ]
