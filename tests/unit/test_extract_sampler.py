"""Which pictures a sampler chooses, from times alone."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.extract.sampler import Sampler

TEN_S = [i / 25 for i in range(250)]
VARIABLE = [0.0, 0.02, 0.06, 1.76, 1.793, 1.9, 5.2, 5.3, 6.0]


def choose(
    times: list[float], ends: float = 10.0, keys: tuple[int, ...] = (), tick: float = 0.0, **how: Any
) -> list[int]:
    return Sampler(**how).choose(times, [i in keys for i in range(len(times))], ends, tick)


def test_every_takes_the_first_picture_of_each_step() -> None:
    assert choose(TEN_S, every=1.0) == list(range(0, 250, 25))
    assert choose(TEN_S[:100], every=0.5) == [0, 13, 25, 38, 50, 63, 75, 88]
    assert choose(TEN_S, every=60.0) == [0]
    assert choose(TEN_S, every=0.001) == list(range(250))


def test_every_takes_nothing_for_a_step_without_a_picture() -> None:
    assert choose(VARIABLE, every=1.0) == [0, 3, 6, 8]


@pytest.mark.parametrize("fps", [Fraction(30_000, 1001), Fraction(24_000, 1001), Fraction(25), Fraction(60)])
def test_every_keeps_to_the_grid(fps: Fraction) -> None:
    times = [float(i / fps) for i in range(int(600 * fps))]
    expected = [next(i for i in range(int(k * fps), len(times)) if i / fps >= k) for k in range(600)]
    assert choose(times, every=1.0) == expected


def test_every_forgives_times_rounded_to_milliseconds() -> None:
    rounded = [round(i * 1000 / 30) / 1000 for i in range(90)]
    assert choose(rounded, every=1 / 3, tick=0.001) == list(range(0, 90, 10))
    assert choose(rounded, every=1 / 3) == [0, 11, 20, 30, 41, 50, 60, 71, 80]


def test_a_coarse_clock_is_forgiven_half_a_millisecond_and_no_more() -> None:
    assert choose([0.0, 0.9994, 0.9996, 1.04], every=1.0, tick=0.04) == [0, 2]


def test_steps_count_from_start_and_end_is_left_out() -> None:
    assert choose(TEN_S, every=2.0, start=3.0, end=9.0) == [75, 125, 175]
    assert choose(TEN_S, every=2.0, start=3.01, end=5.06) == [76, 126]
    assert choose(TEN_S, every=1.0, start=20.0) == []


def test_count_gives_that_many_from_the_middles_of_equal_parts() -> None:
    assert choose(TEN_S, count=10) == [12, 37, 62, 87, 112, 137, 162, 187, 212, 237]
    assert choose(TEN_S, count=1) == [125]
    assert choose(TEN_S, count=2, start=4.0, end=6.0) == [112, 137]
    assert choose(TEN_S, count=1000) == list(range(250))


def test_count_gives_that_many_where_pictures_are_crowded() -> None:
    assert choose(VARIABLE, ends=6.5, count=4) == [2, 5, 6, 7]
    assert choose(VARIABLE, ends=100.0, count=4) == [5, 6, 7, 8]


@given(
    gaps=st.lists(st.integers(1, 5000), min_size=1, max_size=60),
    count=st.integers(1, 80),
)
def test_count_is_exact_ascending_and_distinct(gaps: list[int], count: int) -> None:
    times = [sum(gaps[:i]) / 1000 for i in range(len(gaps))]
    chosen = choose(times, ends=times[-1] + 1, count=count)
    assert len(chosen) == min(count, len(times))
    assert chosen == sorted(set(chosen))


def test_keyframes_are_those_in_the_stretch() -> None:
    assert choose(TEN_S, keys=(0, 60, 120, 180), keyframes=True, start=1.0, end=7.2) == [60, 120]


def test_scene_looks_at_every_picture_of_the_stretch() -> None:
    assert choose(TEN_S, scene=0.3, start=1.0, end=2.0) == list(range(25, 50))


def test_two_pictures_of_one_millisecond_are_one() -> None:
    assert choose([0.0, 0.0, 0.0002, 1.0], count=10) == [0, 3]
    assert choose([0.0] * 5, keys=(0, 3), keyframes=True) == [0]
