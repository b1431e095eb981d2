"""Verdicts are those of brute force, one frame after the other."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dedup import vectors as chunks
from services.dedup.cosine import usable
from services.dedup.decide import decide, greedy
from services.dedup.hashes import Hashes
from services.dedup.vectors import Vectors
from tests.support.near_frames import again, brute_force, hard, pan, spread, static, unit

POOL = ThreadPoolExecutor(2)
DIM, THRESHOLD = 64, 0.92


def told(index: Vectors, x: np.ndarray, per: int) -> tuple[np.ndarray, list[tuple[int, float]]]:
    """What is kept of `x`, given in blocks of `per`; for each frame the place of the one it repeats, and the cosine."""
    keep, repeats, places = list[np.ndarray](), list[tuple[int, float]](), list[int]()
    for start in range(0, len(x), per):
        rows = x[start : start + per]
        good = usable(rows)
        rows = np.where(good[:, None], rows, 0).astype(np.float16)
        found = decide([index], [rows], good)
        for place in range(len(rows)):
            of = places[found.row[place]] if found.row[place] >= 0 else start + found.frame[place]
            is_repeat = found.row[place] >= 0 or found.frame[place] >= 0
            repeats.append((of if is_repeat else -1, float(found.similarity[place])))
        places += [start + place for place in np.flatnonzero(found.keep)]
        index.add(rows[found.keep])
        keep.append(found.keep)
    return np.concatenate(keep), repeats


def assert_as_brute_force(x: np.ndarray, threshold: float, per: int, dim: int) -> Vectors:
    """Kept are the same, and every other frame names one kept before it, with the right cosine."""
    index = Vectors(dim, threshold, POOL)
    keep, repeats = told(index, x, per)
    kept, cosines = brute_force(x, np.float32(threshold))
    assert (keep != kept).sum() == 0
    good = usable(x)
    for place, (of, similarity) in enumerate(repeats):
        if keep[place] or not good[place]:
            assert of == -1
        else:
            assert keep[of]
            assert of < place
            assert cosines[place, of] >= threshold - 1e-7
            assert similarity == pytest.approx(cosines[place, of], abs=1e-5)
    return index


@pytest.mark.parametrize("per", [1, 7, 64, 400])
@pytest.mark.parametrize("threshold", [0.6, 0.92, 0.99])
def test_verdicts_on_hard_frames_are_those_of_brute_force(per: int, threshold: float) -> None:
    assert_as_brute_force(hard(np.random.default_rng(per), DIM, threshold), threshold, per, DIM)


def test_they_are_with_bases_fitted_on_the_way_and_several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FIRST", 32), ("ROWS", 100), ("MORE", 0), ("AT_ONCE", 33), ("GROWTH", 2)):
        monkeypatch.setattr(chunks, name, value)
    rng = np.random.default_rng(3)
    found = np.vstack([hard(rng, 128, 0.92), unit(spread(rng, 400, 128)).astype(np.float16)])
    uploads = again(rng, found[-200:], 0.95)
    index = assert_as_brute_force(np.vstack([found, uploads]), 0.92, 50, 128)
    assert index.basis is not None
    assert len(index.chunks) > 3


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0.3, 0.999), st.integers(2, 24))
def test_they_are_for_any_frames(seed: int, per: int, threshold: float, dim: int) -> None:
    """In few dimensions everything is near the threshold."""
    rng = np.random.default_rng(seed)
    x = unit(rng.standard_normal((120, dim))).astype(np.float16)
    x[rng.integers(0, 120, 40)] = x[rng.integers(0, 120, 40)]
    x[rng.integers(0, 120, 3)] = rng.choice([np.nan, np.inf, 0], 3)[:, None]
    assert_as_brute_force(x, threshold, per, dim)


def test_a_cosine_at_the_threshold_counts_whatever_is_asked_beside_it() -> None:
    """Rows of which many pairs are at one cosine, which is the threshold itself."""
    x = np.zeros((40, 24), np.float16)
    x[np.arange(40), np.arange(40) % 20] = 0.8
    x[:, 20 + np.arange(40) % 4] += 0.6
    x[np.arange(40), 20 + np.arange(40) // 10] += 0.6
    _, cosines = brute_force(x, 0.5)
    for threshold in np.unique(np.round(cosines[cosines > 0.3], 12))[:6]:
        threshold = float(np.float32(threshold))
        ways = [told(Vectors(24, threshold, POOL), x, per)[0] for per in (1, 3, 40)]
        assert (ways[0] == ways[1]).all()
        assert (ways[0] == ways[2]).all()


def test_the_duplicate_of_a_dropped_frame_is_new_unless_it_is_near_a_kept_one() -> None:
    x = pan(np.random.default_rng(1), 3, DIM, 0.93)
    keep, repeats = told(Vectors(DIM, THRESHOLD, POOL), x, 3)
    assert keep.tolist() == [True, False, True]
    assert repeats[1][0] == 0


def test_51_scenes_are_left_of_a_static_shot_of_51() -> None:
    x = static(np.random.default_rng(0), 51, 6000, 384)
    keep, _ = told(Vectors(384, THRESHOLD, POOL), x, 256)
    assert keep.sum() == 51


def test_rows_that_are_dropped_are_nobodys_original_any_more() -> None:
    rng = np.random.default_rng(5)
    x = unit(rng.standard_normal((50, DIM))).astype(np.float16)
    index = Vectors(DIM, THRESHOLD, POOL)
    index.add(x)
    index.drop(np.array([4, 9]))
    number, _ = index.nearest(index.shown(x))
    assert sorted(np.flatnonzero(number < 0)) == [4, 9]
    index.fit()
    assert sorted(np.flatnonzero(index.nearest(index.shown(x))[0] < 0)) == [4, 9]


def test_the_earliest_of_equals_is_named() -> None:
    index = Vectors(DIM, THRESHOLD, POOL)
    row = unit(np.ones((1, DIM))).astype(np.float16)
    index.add(np.repeat(row, 5, 0))
    assert index.nearest(index.shown(row))[0].tolist() == [0]


def hash_brute_force(hashes: np.ndarray, bits: int) -> np.ndarray:
    keep = list[int]()
    for place, one in enumerate(hashes):
        if all(int(one ^ hashes[other]).bit_count() > bits for other in keep):
            keep.append(place)
    return np.isin(np.arange(len(hashes)), keep)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 20), st.integers(1, 50))
def test_hashes_are_judged_as_brute_force_does(seed: int, bits: int, per: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**63, 30, dtype=np.uint64)[rng.integers(0, 30, 150)]
    for _ in range(12):
        hashes ^= np.where(rng.random(150) < 0.5, np.uint64(1) << rng.integers(0, 64, 150, dtype=np.uint64), 0).astype(
            np.uint64
        )
    index, keep = Hashes(bits, POOL), list[np.ndarray]()
    for start in range(0, 150, per):
        some = hashes[start : start + per]
        found = decide([index], [some], np.ones(len(some), bool))
        index.add(some[found.keep])
        keep.append(found.keep)
    assert (np.concatenate(keep) == hash_brute_force(hashes, bits)).all()


def test_with_both_a_repeat_by_either_is_one() -> None:
    rng = np.random.default_rng(2)
    x = unit(rng.standard_normal((4, DIM))).astype(np.float16)
    x[1] = x[0]
    hashes = np.array([0, 2**64 - 1, 2**32 - 1, 2**32 - 2], np.uint64)
    measures = [Hashes(2, POOL), Vectors(DIM, THRESHOLD, POOL)]
    found = decide(measures, [hashes, x], np.ones(4, bool))
    assert found.keep.tolist() == [True, False, True, False]
    assert [measures[which].name for which in found.by[[1, 3]]] == ["vectors", "phash"]
    assert found.frame.tolist() == [-1, 0, -1, 2]
    assert found.similarity[3] == pytest.approx(1 - 1 / 64)
    for measure, rows in zip(measures, (hashes, x), strict=True):
        measure.add(rows[found.keep])
    once_more = decide(measures, [hashes, x], np.ones(4, bool))
    assert once_more.row.tolist() == [0, 0, 1, 1]


def test_greedy_lets_no_dropped_frame_drop_another() -> None:
    over = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], bool)
    assert greedy(over, np.ones(3, bool)).tolist() == [True, False, True]
    assert greedy(over, np.array([False, True, True])).tolist() == [False, True, False]
