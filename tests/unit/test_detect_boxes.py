"""What is published of a detector's answer, against the definition followed one box at a time."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.detect import scores
from services.detect.boxes import Found, best_of_overlapping, choose, in_pixels, shares

WIDTH, HEIGHT = 320, 180
ANYTHING = st.floats(-2, 3, width=32)
"""Where a wild model may put a box, in widths of the picture."""


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union, by the book."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    common = max(wide, 0) * max(high, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def one_by_one(corners: Sequence[Sequence[float]], labels: Sequence[int], overlap: float) -> list[int]:
    """Greedy suppression as it is defined: the best of those that are left, again and again."""
    left, stay = list(range(len(corners))), []
    while left:
        best = left.pop(0)
        stay.append(best)
        left = [i for i in left if labels[i] != labels[best] or iou(corners[i], corners[best]) <= overlap]
    return stay


def found(marks: np.ndarray, centred: np.ndarray, **more: float) -> Found:
    """`choose` with settings that let everything through."""
    settings = {"least": 0.3, "overlap": 1.0, "most": 1000} | more
    least = np.full(marks.shape[1], settings["least"], np.float32)
    return choose(marks, centred, least, (WIDTH, HEIGHT), settings["overlap"], int(settings["most"]))


def test_a_box_is_given_in_pixels_of_the_frame() -> None:
    got = found(np.array([[0.9]], np.float32), np.array([[0.5, 0.5, 0.25, 0.5]], np.float32))
    assert got == Found([(120.0, 45.0, 200.0, 135.0)], [0], [0.9])


def test_boxes_are_cut_at_the_edges_and_rounded_to_a_tenth() -> None:
    centred = np.array([[0, 0, 0.1234, 0.1234], [1, 1, 0.5, 0.5], [0.5, 0.5, 9, 9]], np.float32)
    corners = in_pixels(centred, WIDTH, HEIGHT).tolist()
    assert corners == [[0, 0, 19.7, 11.1], [240, 135, 320, 180], [0, 0, 320, 180]]


def test_what_lies_outside_or_has_no_area_is_no_box() -> None:
    centred = np.array([[1.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0, 0.3], [0.5, 0.5, -0.2, 0.3], [0.5, 0.5, 1e-5, 0.3]])
    assert found(np.full((4, 1), 0.9, np.float32), centred) == Found([], [], [])


def test_each_label_has_its_own_threshold() -> None:
    marks = np.array([[0.5, 0.5], [0.35, 0.45]], np.float32)
    centred = np.array([[0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]])
    got = choose(marks, centred, np.array([0.4, 0.46], np.float32), (WIDTH, HEIGHT), 1, 10)
    assert (got.labels, got.scores) == ([0, 1], [0.5, 0.5])


def test_a_score_equal_to_the_threshold_counts() -> None:
    marks = np.array([[0.35], [np.nextafter(np.float32(0.35), np.float32(0))]], np.float32)
    assert len(found(marks, np.full((2, 4), 0.5), least=0.35).boxes) == 1


def test_the_cap_keeps_the_best() -> None:
    marks = np.linspace(0.31, 0.9, 50, dtype=np.float32)[:, None]
    centred = np.concatenate([np.linspace(0.1, 0.9, 50)[:, None], np.full((50, 3), 0.3)], axis=1)
    got = found(marks, centred, most=3)
    assert got.scores == [round(float(score), 4) for score in marks[[49, 48, 47], 0]]


def test_only_overlapping_boxes_with_one_label_exclude_each_other() -> None:
    centred = np.array([[0.5, 0.5, 0.4, 0.4], [0.51, 0.5, 0.4, 0.4], [0.1, 0.1, 0.1, 0.1]])
    same = np.array([[0.9, 0], [0.8, 0], [0.7, 0]], np.float32)
    assert found(same, centred, overlap=0.8).scores == [0.9, 0.7]
    other = np.array([[0.9, 0], [0, 0.8], [0.7, 0]], np.float32)
    assert found(other, centred, overlap=0.8).scores == [0.9, 0.8, 0.7]


def test_a_box_that_is_beaten_beats_nothing() -> None:
    row = [[0.0, 0, 10, 10], [3.0, 0, 13, 10], [6.0, 0, 16, 10]]  # the first and the last share a quarter
    assert iou(row[0], row[1]) > 0.5
    assert iou(row[1], row[2]) > 0.5
    assert iou(row[0], row[2]) < 0.5
    assert best_of_overlapping(np.array(row), np.zeros(3, int), 0.5).tolist() == [0, 2]


@st.composite
def corners(draw: st.DrawFn) -> np.ndarray:
    """Boxes on a coarse grid, so that many of them overlap."""
    places = draw(arrays.arrays(np.int64, (draw(st.integers(0, 12)), 4), elements=st.integers(0, 5)))
    return np.concatenate([places[:, :2], places[:, :2] + 1 + places[:, 2:]], axis=1).astype(np.float64)


@given(corners(), st.data(), st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
def test_suppression_equals_its_definition(some: np.ndarray, data: st.DataObject, overlap: float) -> None:
    labels = data.draw(arrays.arrays(np.int64, len(some), elements=st.integers(0, 2)))
    assert best_of_overlapping(some, labels, overlap).tolist() == one_by_one(some.tolist(), labels.tolist(), overlap)


@given(corners())
def test_shares_equal_their_definition(some: np.ndarray) -> None:
    expected = [[iou(one, other) for other in some] for one in some]
    np.testing.assert_allclose(shares(some, some), np.array(expected).reshape(len(some), len(some)), atol=1e-12)


@given(
    arrays.arrays(np.float32, (20, 3), elements=st.floats(-8, 8, width=32)),
    arrays.arrays(np.float32, (20, 4), elements=ANYTHING),
    st.sampled_from([0.3, 0.6, 1.0]),
    st.integers(1, 25),
)
def test_whatever_a_model_says_what_is_published_keeps_its_promises(
    logits: np.ndarray, centred: np.ndarray, overlap: float, most: int
) -> None:
    got = found(scores.sigmoid(logits), centred, overlap=overlap, most=most)
    assert len(got.boxes) == len(got.labels) == len(got.scores) <= min(most, 20)
    assert got.scores == sorted(got.scores, reverse=True)
    assert all(score >= 0.3 for score in got.scores)
    for left, top, right, bottom in got.boxes:
        assert 0 <= left < right <= WIDTH
        assert 0 <= top < bottom <= HEIGHT
        assert all(round(side, 1) == side for side in (left, top, right, bottom))
    assert one_by_one(got.boxes, got.labels, overlap) == list(range(len(got.boxes)))


def test_no_more_boxes_than_queries_however_many_labels() -> None:
    got = found(np.full((5, 80), 0.9, np.float32), np.full((5, 4), 0.5))
    assert len(got.boxes) == 5
