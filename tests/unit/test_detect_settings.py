"""What a node that detects can be told, and what it refuses, in words."""

from pathlib import Path

import msgspec
import pytest

from lodestream.errors import LodeError, Malformed, Outage
from lodestream.models.card import Card, known_card
from services.detect.detector import check, prepared
from services.detect.node import NODE


class Shelf:
    """A shelf with one model on it."""

    def __init__(self, card: Card | None, folder: Path = Path()):
        self._card, self.folder = card, folder

    def card(self, name: str) -> Card:
        if self._card is None:
            raise LodeError(f"model {name} is not installed; get it with: lode models pull {name}")
        return self._card


def refused(**given: object) -> str:
    """What is said to these settings."""
    with pytest.raises(msgspec.ValidationError) as error:
        NODE.read_settings(given)
    return str(error.value)


def test_what_is_not_said() -> None:
    settings = NODE.read_settings({"labels": ["person"]})
    assert (settings.model, settings.threshold, settings.thresholds) == ("grounding-dino-tiny", 0.35, {})
    assert (settings.nms, settings.max_boxes) == (None, 100)


def test_an_unknown_label_of_a_closed_detector_is_refused_with_the_nearest() -> None:
    said = refused(labels=["person", "sport ball"], model="dfine-s")
    assert "dfine-s does not know 'sport ball'; nearest: sports ball" in said
    assert "there are: person, bicycle, car" in refused(labels=["qqqqqqqq"], model="dfine-s")
    NODE.read_settings({"labels": ["person", "sports ball"], "model": "dfine-s"})


def test_an_open_detector_takes_any_word() -> None:
    NODE.read_settings({"labels": ["qqqqqqqq", "a person doing a handstand"]})


def test_a_model_that_gives_no_boxes_is_refused() -> None:
    assert "model: siglip2-base-224 gives no boxes: it is for image-text" in refused(
        labels=["person"], model="siglip2-base-224"
    )


def test_somebodys_own_model_is_looked_at_where_it_is() -> None:
    NODE.read_settings({"labels": ["person"], "model": "my-own"})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": ["St. Bernard"]}, "'St. Bernard': . and ? end a label for grounding-dino-tiny; leave them out"),
        ({"labels": ["dog?"]}, "'dog?': . and ? end a label"),
        ({"labels": ["  "]}, "one without a word"),
        ({"labels": ["hand", "Hand"]}, "'Hand' stands there twice"),
        ({"labels": []}, "length >= 1"),
        ({"labels": ["person"], "thresholds": {"persons": 0.5}}, "'persons' is not one of the labels; nearest: person"),
        ({"labels": ["person"], "thresholds": {"person": 1.5}}, "<= 1"),
        ({"labels": ["person"], "threshold": 0}, "> 0"),
        ({"labels": ["person"], "nms": 0}, "> 0"),
        ({"labels": ["person"], "max_boxes": 301}, "<= 300"),
    ],
)
def test_other_mistakes(given: dict[str, object], said: str) -> None:
    assert said in refused(**given)


def test_what_a_change_recomputes() -> None:
    def recipe(**given: object) -> str:
        return NODE.recipe(NODE.read_settings({"labels": ["person"], **given}), "12345678")

    assert recipe(concurrency=2) == recipe()
    others = [{"labels": ["hand"]}, {"model": "dfine-s"}, {"threshold": 0.4}, {"thresholds": {"person": 0.4}}]
    others += [{"nms": 0.5}, {"max_boxes": 3}]
    assert len({recipe(**other) for other in others} | {recipe()}) == len(others) + 1


def test_a_model_that_is_not_there_is_waited_for_in_words() -> None:
    with pytest.raises(Outage, match="dfine-s is not installed; get it with: lode models pull dfine-s"):
        prepared(Shelf(None), "dfine-s", ["person"])  # type: ignore[arg-type]


def test_labels_are_looked_at_again_where_the_model_is() -> None:
    own = msgspec.structs.replace(known_card("dfine-s"), name="my-own", labels=("cat", "dog"), revision="0badcafe" * 5)
    detector = prepared(Shelf(own), "my-own", ["dog"])  # type: ignore[arg-type]
    assert (detector.columns, detector.caption, detector.version) == ([1], None, "0badcafe" * 5)
    with pytest.raises(Malformed, match="my-own does not know 'dig'; nearest: dog"):
        prepared(Shelf(own), "my-own", ["dig"])  # type: ignore[arg-type]


def test_a_text_model_is_no_detector() -> None:
    with pytest.raises(Malformed, match="no detector"):
        check(known_card("siglip2-base-224"), ["person"])
