"""Boxes drawn on a frame: tags within the picture, apart from each other, a colour for each label."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from lodestream.preview import COLOURS, Corners, Found, colours_of, draw, place

GREY = Image.new("RGB", (320, 180), (120, 120, 120))


def pixels(*found: Found) -> np.ndarray:
    """What is drawn on grey."""
    return np.asarray(draw(GREY, found))


def has(picture: np.ndarray, colour: str) -> int:
    """How many pixels have just this colour."""
    return int((picture == ImageColor.getrgb(colour)).all(2).sum())


def test_a_frame_without_boxes_is_the_frame() -> None:
    assert draw(GREY, []) is GREY


def test_a_box_is_drawn_along_its_edge_and_named() -> None:
    before = np.asarray(GREY).copy()
    picture = pixels(Found((100.0, 60.0, 200.0, 150.0), "person", 0.914))
    (colour,) = colours_of(["person"]).values()
    for y, x in ((60, 150), (149, 150), (100, 100), (100, 199)):
        assert tuple(picture[y, x]) == ImageColor.getrgb(colour), (y, x)
    assert (picture[80:130, 120:180] == before[80:130, 120:180]).all(), "nothing inside it"
    assert has(picture[40:60, 100:180], colour) > 200, "its tag above it"
    assert (np.asarray(GREY) == before).all(), "the frame itself is not drawn on"
    assert picture.shape == before.shape


def test_what_a_tag_says() -> None:
    assert Found((0, 0, 1, 1), "a hand", 0.456).words() == "a hand 0.46"


def test_two_labels_have_two_colours_and_each_keeps_its_own() -> None:
    alone = colours_of(["person"])["person"]
    both = colours_of(["person", "hand"])
    assert both == colours_of(["hand", "person", "hand"])
    assert len(set(both.values())) == 2
    assert alone in both.values()
    many = colours_of([f"label {n}" for n in range(len(COLOURS))])
    assert len(set(many.values())) == len(COLOURS)
    assert len(colours_of([f"label {n}" for n in range(30)])) == 30


def test_a_tag_stands_above_its_box_or_below_or_inside_where_there_is_no_room() -> None:
    assert place((50, 60, 90, 100), (60, 14), (320, 180), []) == (50, 46, 110, 60)
    assert place((50, 0, 90, 100), (60, 14), (320, 180), []) == (50, 100, 110, 114)
    assert place((50, 0, 90, 180), (60, 14), (320, 180), []) == (50, 0, 110, 14)


def test_a_tag_at_the_right_edge_ends_with_its_box() -> None:
    assert place((280, 60, 320, 100), (60, 14), (320, 180), []) == (260, 46, 320, 60)


def test_tags_of_one_place_do_not_cover_each_other() -> None:
    taken: list[Corners] = []
    for _ in range(6):
        taken.append(place((100, 50, 220, 140), (60, 14), (320, 180), taken))
    assert len(set(taken)) == 6
    assert not any(shared(one, other) for n, one in enumerate(taken) for other in taken[:n])


def shared(one: Corners, other: Corners) -> bool:
    """Whether two rectangles have something in common."""
    return min(one[2], other[2]) > max(one[0], other[0]) and min(one[3], other[3]) > max(one[1], other[1])


@given(
    st.lists(st.tuples(*(st.floats(0, 320) for _ in range(2)), *(st.floats(0, 180) for _ in range(2))), max_size=8),
    st.text(max_size=40),
)
def test_anything_can_be_drawn(ends: list[tuple[float, float, float, float]], label: str) -> None:
    boxes = [(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, x2, y1, y2 in ends]
    drawn = draw(GREY, [Found(box, f"{label}{n % 3}", 0.5) for n, box in enumerate(boxes)])
    assert drawn.size == GREY.size


def test_a_tag_wider_than_the_picture_begins_at_its_left_edge() -> None:
    left, top, _, bottom = place((10, 10, 20, 20), (500, 14), (320, 180), [])
    assert (left, top >= 0, bottom <= 180) == (0, True, True)
