"""A frame with the boxes that a detector found drawn on it: a colour for each label, and tags that can be read."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

COLOURS = ("#ffd23f", "#3bceac", "#ff5d73", "#54a6ff", "#c78bff", "#ff9f43", "#a8e05f", "#ff7bd5", "#7df3ff", "#d9c7a7")
"""Bright, for dark letters on them."""
INK, EDGE = "#101114", "#000000"
PAD = 4
"""Pixels beside a tag's words."""
Corners = tuple[float, float, float, float]
"""x1, y1, x2, y2"""


class Found(NamedTuple):
    """One box."""

    corners: Corners
    """In pixels of the frame."""
    label: str
    score: float

    def words(self) -> str:
        """`person 0.91`"""
        return f"{' '.join(self.label.split())} {self.score:.2f}"


def draw(frame: Image.Image, found: Sequence[Found]) -> Image.Image:
    """The frame, of the same size, with boxes and their tags; the frame itself where there is none."""
    if not found:
        return frame
    drawn = frame.convert("RGB")
    pen, short = ImageDraw.Draw(drawn), min(frame.size)
    font, line = ImageFont.load_default(max(11, short // 30)), max(2, short // 240)
    colours = colours_of([each.label for each in found])
    for each in reversed(found):  # the best on top
        _outline(pen, each.corners, colours[each.label], line)
    tags: list[Corners] = []
    for each in found:
        tags.append(place(each.corners, _size(each.words(), font), frame.size, tags))
        pen.rectangle(tags[-1], colours[each.label])
        pen.text((tags[-1][0] + PAD, (tags[-1][1] + tags[-1][3]) / 2), each.words(), INK, font, anchor="lm")
    return drawn


def colours_of(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label: the same in every picture, unless two in this one would have the same."""
    chosen: dict[str, str] = {}
    for label in sorted(set(labels)):
        first = int.from_bytes(blake2b(label.encode(), digest_size=4).digest())
        turns = [COLOURS[(first + step) % len(COLOURS)] for step in range(len(COLOURS))]
        chosen[label] = next((colour for colour in turns if colour not in chosen.values()), turns[0])
    return chosen


def place(box: Corners, size: tuple[int, int], room: tuple[int, int], taken: Sequence[Corners]) -> Corners:
    """Where a tag of this size (width, height) goes: at its box, within the room, over as little of others as can be.

    Above the box as a rule, else below it, else inside; from its left edge, or up to its right one.
    """
    (left, top, right, bottom), (wide, high) = box, size
    best, least = box, (float("inf"), float("inf"))
    for y in (top - high, bottom, top, bottom - high):
        for x in (left, right - wide):
            near_x, near_y = max(0, min(x, room[0] - wide)), max(0, min(y, room[1] - high))
            spot = (near_x, near_y, near_x + wide, near_y + high)
            cost = (sum(_common(spot, other) for other in taken), abs(near_x - x) + abs(near_y - y))
            best, least = (spot, cost) if cost < least else (best, least)
    return best


def _common(one: Corners, other: Corners) -> float:
    """Pixels that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0) * max(high, 0)


def _size(words: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> tuple[int, int]:
    left, _, right, _ = font.getbbox(words)
    _, top, _, bottom = font.getbbox("Áj")
    return round(right - left) + 2 * PAD, round(bottom - top) + PAD


def _outline(pen: ImageDraw.ImageDraw, corners: Corners, colour: str, line: int) -> None:
    """A line in its colour, with a dark one on either side, that it is seen on any ground."""
    left, top, right, bottom = corners[0], corners[1], corners[2] - 1, corners[3] - 1
    for grow, width, ink in ((1, line + 2, EDGE), (0, line, colour)):
        outside = (left - grow, top - grow, max(right, left) + grow, max(bottom, top) + grow)
        pen.rectangle(outside, outline=ink, width=width)
