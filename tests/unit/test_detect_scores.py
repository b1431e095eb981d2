"""What logits mean: of a closed detector's classes, and of Grounding DINO's tokens."""

import numpy as np
import pytest

from services.detect.scores import closed, grounded, is_sound, sigmoid

HIDDEN = -np.inf
"""Grounding DINO's logit of a place that has no token."""


def logit(*chances: float) -> list[float]:
    """The logits that give these scores."""
    return [float(np.log(chance / (1 - chance))) for chance in chances]


def test_sigmoid_at_its_ends() -> None:
    got = sigmoid(np.array([HIDDEN, -200, 0, 200, np.inf], np.float32))
    assert got.tolist() == [0, 0, 0.5, 1, 1]


def test_a_closed_detector_is_asked_for_some_of_its_classes() -> None:
    logits = np.array([logit(0.1, 0.7, 0.2), logit(0.6, 0.3, 0.9)], np.float32)
    np.testing.assert_allclose(closed(logits, [2, 0]), [[0.2, 0.1], [0.9, 0.6]], rtol=1e-6)


def test_a_query_has_the_score_of_its_best_token_for_the_label_that_fits_best() -> None:
    # [CLS] red ball . blue square . [SEP], and padding
    row = [*logit(0.9, 0.5, 0.7, 0.8, 0.1, 0.2, 0.8, 0.9), HIDDEN, HIDDEN]
    got = grounded(np.array([row], np.float32), [[1, 2], [4, 5]])
    np.testing.assert_allclose(got, [[0.7, 0]], rtol=1e-6)


def test_of_labels_that_share_their_best_word_the_others_decide() -> None:
    # red ball . blue ball .
    rows = [logit(0.6, 0.8, 0.1, 0.8), logit(0.1, 0.8, 0.6, 0.8)]
    got = grounded(np.array(rows, np.float32), [[0, 1], [2, 3]])
    np.testing.assert_allclose(got, [[0.8, 0], [0, 0.8]], rtol=1e-6)


def test_full_stops_and_ends_of_the_caption_say_nothing() -> None:
    rows = np.array([logit(0.99, 0.2, 0.99, 0.99)], np.float32)
    np.testing.assert_allclose(grounded(rows, [[1]]), [[0.2]], rtol=1e-6)


@pytest.mark.parametrize("place", [1, 2, 4])
def test_a_token_without_a_number_is_not_hidden_by_another_label(place: int) -> None:
    logits = np.array([logit(0.1, 0.9, 0.9, 0.1, 0.2)], np.float32)
    logits[0, place] = np.nan
    assert not is_sound(grounded(logits, [[1, 2], [4]]), np.zeros((1, 4)))


def test_what_is_sound() -> None:
    marks, places = np.full((3, 2), 0.5), np.full((3, 4), 0.5)
    assert is_sound(marks, places)
    for broken in (np.nan, np.inf, -np.inf):
        wrong = places.copy()
        wrong[1, 2] = broken
        assert not is_sound(marks, wrong)
    marks[2, 1] = np.nan
    assert not is_sound(marks, places)
