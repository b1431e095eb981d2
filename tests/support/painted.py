"""Simple pictures: shapes of one colour on a ground of another, as a camera's JPEG has them."""

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

RGB = {"red": (210, 20, 25), "blue": (20, 40, 200), "green": (20, 150, 40), "yellow": (240, 220, 20)}
"""Not the pure colours."""


def painted(*shapes: str, ground: Any = (128, 128, 128), size: tuple[int, int] = (640, 360)) -> Image.Image:
    """A picture with shapes such as `red ball` side by side, from left to right."""
    image = Image.new("RGB", size, ground)
    for number, words in enumerate(shapes):
        colour, shape = words.split()
        _draw(image, shape, RGB[colour], place(number, len(shapes), size))
    return image


def place(number: int, count: int, size: tuple[int, int] = (640, 360)) -> tuple[float, float, float, float]:
    """Where a shape is painted: left, top, right and bottom in pixels."""
    half = 0.3 * min(size[0] / count, size[1])
    x, y = size[0] * (number + 0.5) / count, size[1] * 0.45
    return x - half, y - half, x + half, y + half


def _draw(image: Image.Image, shape: str, colour: tuple[int, int, int], box: tuple[float, ...]) -> None:
    draw, (left, top, right, bottom) = ImageDraw.Draw(image), box
    if shape == "ball":
        draw.ellipse(box, fill=colour)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    else:
        draw.polygon([((left + right) / 2, top), (left, bottom), (right, bottom)], fill=colour)


def scene(seed: int, size: tuple[int, int] = (640, 360)) -> Image.Image:
    """Something like a film's frame: soft patches of colour, and some shapes."""
    rng = np.random.default_rng(seed)
    patches = Image.fromarray(rng.integers(0, 256, (6, 10, 3), np.uint8))
    image = patches.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        draw.ellipse((x, y, x + 90, y + 70), fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
    return image


def jpeg(image: Image.Image, quality: int = 80) -> Image.Image:
    """The picture after it was stored as a JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def seen(images: list[Image.Image], side: int) -> np.ndarray:
    """What a model is given: (n, side, side, 3) bytes."""
    return np.stack([np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)) for image in images])
