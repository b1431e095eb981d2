"""What a node that extracts may be told, and what stands for what it makes."""

from typing import Any

import msgspec
import pytest

from services.extract.node import NODE, Extract


def read(**given: Any) -> Extract:
    return NODE.read_settings(given)  # type: ignore[no-any-return]


def test_nothing_said_is_one_frame_a_second() -> None:
    assert read().every == 1.0
    assert NODE.recipe(read(), "") == NODE.recipe(read(every="1s"), "") == NODE.recipe(read(every="1000ms"), "")


@pytest.mark.parametrize(
    ("given", "words", "sampler"),
    [
        ({"every": "500ms"}, "every 0.5s", {"every": 0.5}),
        ({"fps": 4}, "fps 4", {"every": 0.25}),
        ({"keyframes": True, "start": "1m"}, "keyframes from 60s", {"keyframes": True, "start": 60.0}),
        ({"count": 12, "start": 2, "end": "20s"}, "count 12 from 2s to 20s", {"count": 12, "start": 2.0, "end": 20.0}),
        ({"scene": 0.4, "end": 9}, "scene 0.4 to 9s", {"scene": 0.4, "end": 9.0}),
    ],
)
def test_one_sampler_and_a_stretch(given: dict[str, Any], words: str, sampler: dict[str, Any]) -> None:
    settings = read(**given)
    assert settings.words() == words
    nothing = {"every": None, "keyframes": False, "count": None, "scene": None, "start": 0.0, "end": None}
    assert settings.sampler() == nothing | sampler


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"every": "1s", "fps": 2}, "one sampler at a time, not every and fps"),
        ({"keyframes": True, "count": 3}, "keyframes and count"),
        ({"every": "0.1ms"}, "a millisecond at least"),
        ({"every": "often"}, r"a duration.* - at `\$.every`"),
        ({"end": 5, "start": 5}, "end: must be later than start"),
        ({"fps": 0}, r"\$.fps"),
        ({"count": 0}, r"\$.count"),
        ({"scene": 1.5}, r"\$.scene"),
        ({"quality": 101}, r"\$.quality"),
        ({"max_side": 4}, r"\$.max_side"),
        ({"frames": 4}, "unknown field `frames`"),
    ],
)
def test_what_does_not_agree_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        read(**given)


def test_recipe_follows_what_shapes_the_frames_and_nothing_else() -> None:
    plain = NODE.recipe(read(), "")
    for given in ({"every": 2}, {"count": 3}, {"start": 1}, {"end": 5}, {"max_side": 320}, {"quality": 80}):
        assert NODE.recipe(read(**given), "") != plain
    for given in ({"concurrency": 3}, {"time_limit": "10m"}):
        assert NODE.recipe(read(**given), "") == plain
    assert NODE.recipe(read(), "0badcafe") != plain
