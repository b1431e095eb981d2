"""What is said of a frame without a model, against plain definitions."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lodestream.inference import measures
from lodestream.inference.measures import NAMES, WORKING, luma, measure
from tests.support.frames import noise, plain


def said(pixels: np.ndarray) -> dict[str, float]:
    return dict(zip(NAMES, measure(Image.fromarray(pixels)), strict=True))


def scene(width: int, height: int, blur: float = 0) -> np.ndarray:
    """The same blocks at any size; `blur` in thousandths of the width."""
    blocks = np.random.default_rng(5).integers(0, 256, (18, 32, 3), np.uint8)
    picture = Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(blur * width / 1000)))


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    pixels = noise(3, 40, 30)
    grey = np.asarray(luma(Image.fromarray(pixels))).astype(float)
    laplacian = [
        grey[y, x - 1] + grey[y, x + 1] + grey[y - 1, x] + grey[y + 1, x] - 4 * grey[y, x]
        for y in range(1, 29)
        for x in range(1, 39)
    ]
    assert said(pixels)["sharpness"] == pytest.approx(np.var(laplacian), rel=1e-4)


def test_brightness_contrast_and_entropy_are_those_of_the_luma() -> None:
    pixels = noise(4, 90, 70)
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    _, counts = np.unique(grey, return_counts=True)
    share = counts / counts.sum()
    found = said(pixels)
    assert found["brightness"] == pytest.approx(grey.mean())
    assert found["contrast"] == pytest.approx(grey.std())
    assert found["entropy"] == pytest.approx(-(share * np.log2(share)).sum())


def test_a_picture_of_one_colour() -> None:
    found = said(plain((200, 200, 200)))
    assert found == {"sharpness": 0, "brightness": 200, "contrast": 0, "entropy": 0, "black_bars": 0, "solid": 1}
    assert (said(plain((0, 0, 0)))["black_bars"], said(plain((9, 9, 9), 1, 1))["sharpness"]) == (1, 0)


def test_sharpness_compares_between_resolutions_and_falls_with_blur() -> None:
    sizes = [(1920, 1080), (1280, 720), (854, 480)]
    sharp = [said(scene(*size))["sharpness"] for size in sizes]
    assert max(sharp) < 1.6 * min(sharp)
    for size in sizes:
        faint = [said(scene(*size, blur))["sharpness"] for blur in (0, 2, 6, 20)]
        assert faint == sorted(faint, reverse=True)
        assert faint[-1] < min(sharp) / 50


@pytest.mark.parametrize("size", [(1000, 600), (600, 1000), (400, 256), (64, 48)])
def test_the_working_size_is_that_of_the_shorter_side(size: tuple[int, int]) -> None:
    shape = luma(Image.fromarray(noise(1, *size))).size
    assert min(shape) == min(WORKING, *size)
    assert max(shape) / min(shape) == pytest.approx(max(size) / min(size), rel=0.01)


def test_black_bars_are_counted_by_area_and_a_dark_scene_has_none() -> None:
    picture = scene(320, 180).copy()
    picture[:20] = picture[-20:] = 16
    assert said(picture)["black_bars"] == pytest.approx(40 / 180, abs=0.01)
    picture[:, :40] = 0
    assert said(picture)["black_bars"] == pytest.approx(1 - 140 * 280 / (180 * 320), abs=0.01)
    night = plain((5, 5, 5), 320, 180)
    night[5:175:10, 3:318:10] = 255
    assert said(night)["black_bars"] < 0.15


def test_solid_is_the_share_near_one_grey_level() -> None:
    slide = plain((240, 240, 240), 200, 100)
    slide[:25] = noise(2, 200, 25)
    slide[25:50:2] += 5
    assert said(slide)["solid"] == pytest.approx(0.75, abs=0.05)
    assert said(noise(1, 200, 100))["solid"] < 0.2


def test_the_share_near_a_level_takes_levels_at_both_ends() -> None:
    share = np.zeros(256)
    share[0], share[15], share[16], share[255] = 0.4, 0.3, 0.2, 0.1
    assert measures.solid(share) == pytest.approx(0.7)
    assert measures.solid(share[::-1]) == pytest.approx(0.7)
