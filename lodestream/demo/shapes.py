"""Films of coloured things on plain ground, whose places are known: for detectors, filters and near duplicates.

Film.of("balls", Scene("grey", (Thing("red", "ball"),)), Scene("green", (Thing("blue", "square"),)))

`python -m lodestream.demo.shapes FOLDER` writes some.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from lodestream.demo.clips import Clip

COLOURS = {
    "red": (214, 38, 38),
    "green": (44, 150, 62),
    "blue": (38, 70, 210),
    "yellow": (236, 206, 40),
    "white": (240, 240, 240),
    "grey": (128, 128, 128),
    "black": (14, 14, 14),
}
Shape = Literal["ball", "square"]


class Seen(NamedTuple):
    """A thing where it really is."""

    label: str
    """`red ball`"""
    box: tuple[int, int, int, int]
    """x1, y1, x2, y2 in pixels of the film, x2 and y2 just beyond it."""


@dataclass(frozen=True)
class Thing:
    """One thing. It moves on a straight line and turns back at the edges."""

    colour: str
    shape: Shape
    size: float = 0.3
    """Of the picture's height."""
    at: tuple[float, float] = (0.2, 0.3)
    """Where its corner is at first: shares of the way that it has, across and down."""
    speed: tuple[float, float] = (0.2, 0.1)
    """Of that way in a second; (0, 0) stands still."""

    @property
    def label(self) -> str:
        """`red ball`"""
        return f"{self.colour} {self.shape}"

    def box(self, time: float, width: int, height: int) -> tuple[int, int, int, int]:
        """Where it is `time` seconds into its scene."""
        side = round(self.size * height)
        left, top = (
            round((room - side) * (1 - abs(1 - (start + speed * time) % 2)))
            for room, start, speed in zip((width, height), self.at, self.speed, strict=True)
        )
        return left, top, left + side, top + side


@dataclass(frozen=True)
class Scene:
    """A shot from a camera that stands still."""

    ground: str = "grey"
    things: tuple[Thing, ...] = ()
    """Later ones lie over earlier ones."""
    seconds: float = 4.0
    light: float = 1.0
    """0 is darkness."""
    blur: float = 0.0
    """Radius in pixels."""
    noise: float = 2.0
    """Of the camera: standard deviation in grey levels; another with each frame."""

    def truth(self, time: float, width: int, height: int) -> list[Seen]:
        """What is to be seen `time` seconds into the scene."""
        return [Seen(thing.label, thing.box(time, width, height)) for thing in self.things]

    def picture(self, number: int, time: float, width: int, height: int) -> np.ndarray:
        """RGB, uint8, shape (height, width, 3); `number` gives the noise."""
        shown = np.full((height, width, 3), COLOURS[self.ground], np.uint8)
        for thing in self.things:
            left, top, right, bottom = thing.box(time, width, height)
            spot = shown[top:bottom, left:right]
            spot[_mask(thing.shape, right - left)] = COLOURS[thing.colour]
        if self.blur:
            shown = np.asarray(Image.fromarray(shown).filter(ImageFilter.GaussianBlur(self.blur)))
        if not self.noise and self.light == 1:
            return shown
        grain = np.random.default_rng(number).normal(0, self.noise, (height, width, 1))
        return np.clip(shown * self.light + grain, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Film(Clip):
    """A video of scenes, one after the other. What it shows has nothing to do with its name."""

    scenes: tuple[Scene, ...] = ()

    @classmethod
    def of(cls, name: str, *scenes: Scene, **more: Any) -> "Film":
        """A film of these scenes, as long as they are; `more` are fields of Clip."""
        ends = np.cumsum([scene.seconds for scene in scenes]).tolist()
        return cls(name, seconds=ends[-1], cuts=tuple(ends[:-1]), scenes=scenes, **more)

    def again(self, name: str, **more: Any) -> "Film":
        """The same pictures encoded once more; `more` are fields of Clip: another size, codec, options."""
        return replace(self, name=name, **{"options": (("crf", "32"),), **more})

    def truth(self, time: float) -> list[Seen]:
        """What is to be seen at `time`, in seconds."""
        scene, since = self._at(time)
        return scene.truth(since, self.width, self.height)

    def picture(self, number: int, time: float) -> np.ndarray:
        """Picture `number` as it is to be shown."""
        scene, since = self._at(time)
        return scene.picture(number, since, self.width, self.height)

    def _at(self, time: float) -> tuple[Scene, float]:
        """The scene that is shown, and since when."""
        place = self.scene(time)
        return self.scenes[place], time - (0.0, *self.cuts)[place]


def red_ball(**more: Any) -> Scene:
    """A red ball on grey; `more` are fields of Scene."""
    return Scene("grey", (Thing("red", "ball"),), **more)


def blue_square(**more: Any) -> Scene:
    """A blue square on green; `more` are fields of Scene."""
    return Scene("green", (Thing("blue", "square", at=(0.6, 0.4), speed=(-0.15, 0.2)),), **more)


def still(**more: Any) -> Scene:
    """A shot in which nothing moves but the camera's noise; `more` are fields of Scene."""
    things = (Thing("yellow", "ball", 0.4, (0.5, 0.5), (0, 0)), Thing("white", "square", 0.2, (0.1, 0.8), (0, 0)))
    return Scene("blue", things, **more)


def films() -> list[Film]:
    """One of each kind: with what is looked for, with other things, again, standing still, dark, blurred."""
    size = {"width": 640, "height": 360}
    ball = Film.of("red-ball", red_ball(), **size)
    blue, yellow = Thing("blue", "square", 0.2, (0.8, 0), (-0.1, 0)), Thing("yellow", "ball", 0.3, (0.5, 1), (-0.2, 0))
    three = (Thing("red", "ball", 0.25), blue, yellow)
    return [
        ball,
        ball.again("red-ball-again", width=480, height=270),
        Film.of("blue-square", blue_square(), **size),
        Film.of("three-things", Scene("white", three), blue_square(seconds=2), **size),
        Film.of("still", still(seconds=8), **size),
        Film.of("dark", red_ball(light=0.08), **size),
        Film.of("blurred", red_ball(blur=14), **size),
    ]


def write(folder: Path) -> None:
    """Put `films` into a folder, as MP4 files."""
    folder.mkdir(parents=True, exist_ok=True)
    for film in films():
        (folder / f"{film.name}.mp4").write_bytes(film.encode())


def _mask(shape: Shape, side: int) -> np.ndarray:
    """Which pixels of its box a thing fills."""
    if shape == "square":
        return np.ones((side, side), bool)
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    return np.hypot(x, y) <= side / 2


if __name__ == "__main__":
    write(Path(sys.argv[1]))
