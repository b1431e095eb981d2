"""What the demo expects, and that it says every way in which an outcome differs."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from lodestream.demo import pages
from lodestream.demo.expect import differences, expected


def test_an_outcome_as_expected_has_no_differences() -> None:
    assert differences(expected(), expected()) == []


def test_every_video_is_expected_once_and_the_torn_one_to_where_it_is_torn() -> None:
    frames = expected().frames
    assert len(frames) == 11
    assert max(frames[pages.TORN]) < pages.TORN_SECONDS * 1000 < max(frames[pages.TORN]) + 1000
    assert pages.COPY not in frames


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"offered": 3}, "offered: 15 expected, 3 found"),
        ({"candidates": 15}, "candidates: 14 expected, 15 found"),
        ({"damaged": frozenset()}, "damaged: /videos/torn.mp4 expected, none found"),
        ({"dead": Counter({"seeds": 2})}, "dead: 1 seeds expected, 2 seeds found"),
        (
            {"rejected": Counter({"get: gone": 3})},
            "rejected: 1 get: duplicate, 1 get: fake, 1 get: gone expected, 3 get: gone found",
        ),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], said: str) -> None:
    assert differences(expected(), replace(expected(), **change)) == [said]


def test_frames_that_are_missing_shifted_or_strange_are_said() -> None:
    frames = expected().frames
    had = {**frames, pages.PLAIN: [0, 1000], "/strange.mp4": [40]}
    del had["/podcast/one.mp4"]
    assert differences(expected(), replace(expected(), frames=had)) == [
        "/podcast/one.mp4: frames at [0, 1000, 2000, 3000, 4000] ms expected, at [] ms found",
        "/strange.mp4: frames at [] ms expected, at [40] ms found",
        f"/videos/harbour.mp4: frames at {frames[pages.PLAIN]} ms expected, at [0, 1000] ms found",
    ]
