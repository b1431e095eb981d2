"""Films of coloured things: what is drawn is where the film says it is, also after encoding and JPEG."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from lodestream.demo.shapes import COLOURS, Film, Scene, Thing, blue_square, films, red_ball, still, write
from tests.support.video import extract, pixels

TWO = Film.of("two", red_ball(seconds=2), blue_square(seconds=2))


def extent(picture: np.ndarray, colour: str) -> tuple[int, ...]:
    """The box around all that is nearer to this colour than to any other."""
    levels = np.array(list(COLOURS.values()), np.int32)
    nearest = np.abs(picture[:, :, None].astype(np.int32) - levels).sum(3).argmin(2)
    y, x = np.nonzero(nearest == list(COLOURS).index(colour))
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


@pytest.mark.parametrize("time", [0, 1.5, 2, 3.9])
def test_a_thing_is_where_the_film_says(time: float) -> None:
    (seen,) = TWO.truth(time)
    assert seen.label == ("red ball" if time < 2 else "blue square")
    assert extent(TWO.picture(int(time * 25), time), seen.label.split()[0]) == seen.box


def test_things_move_and_turn_back_at_the_edges() -> None:
    thing = Thing("red", "ball", 0.25, (0, 0), (0.5, 0))
    boxes = [thing.box(time, 320, 180) for time in np.arange(0, 12, 0.25)]
    assert {box[0] for box in boxes} >= {0, 320 - 45}
    assert all(0 <= box[0] < box[2] <= 320 for box in boxes)


def test_what_is_known_holds_for_stored_frames(tmp_path: Path) -> None:
    got = extract(TWO.encode(), tmp_path, every=0.5)
    assert len(got.times) == 8
    for time, jpeg in zip(got.times, got.jpegs, strict=True):
        (seen,) = TWO.truth(time / 1000)
        assert np.abs(np.subtract(extent(pixels(jpeg), seen.label.split()[0]), seen.box)).max() <= 1


def test_the_same_film_again_has_other_bytes_and_nearly_the_same_pictures(tmp_path: Path) -> None:
    again = TWO.again("copy")
    assert again.encode() != TWO.encode()
    one, other = (extract(film.encode(), tmp_path / film.name, every=1.0) for film in (TWO, again))
    for left, right in zip(one.jpegs, other.jpegs, strict=True):
        assert left != right
        assert np.abs(pixels(left).astype(int) - pixels(right)).mean() < 4


def test_darkness_blur_and_stillness() -> None:
    plain, dark, blurred = (Film.of("x", red_ball(**how)).picture(0, 0) for how in ({}, {"light": 0.1}, {"blur": 6}))
    assert dark.mean() < plain.mean() / 8
    assert np.abs(np.diff(blurred.astype(int), axis=1)).max() < np.abs(np.diff(plain.astype(int), axis=1)).max() / 2
    film = Film.of("still", still())
    assert film.truth(0) == film.truth(3.5)
    assert 0 < np.abs(film.picture(0, 0).astype(int) - film.picture(90, 3.6)).mean() < 4


def test_later_things_lie_over_earlier_ones() -> None:
    both = Scene("grey", (Thing("red", "square", at=(0, 0)), Thing("blue", "square", at=(0, 0))), noise=0)
    assert both.picture(0, 0, 64, 64)[5, 5].tolist() == list(COLOURS["blue"])


def test_the_films_that_are_written_are_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lodestream.demo.shapes.films", lambda: [replace(film, fps=2) for film in films()])
    write(tmp_path / "films")
    written = {path.stem: path.read_bytes() for path in (tmp_path / "films").iterdir()}
    assert set(written) == {film.name for film in films()}
    assert len(set(written.values())) == len(written)
    three = next(film for film in films() if film.name == "three-things")
    for time in np.arange(0, 4, 0.1):
        boxes = [seen.box for seen in three.truth(time)]
        apart = [a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1] for a, b in combinations(boxes, 2)]
        assert all(apart), (time, boxes)
