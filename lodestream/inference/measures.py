"""What can be said of a frame without a model: six numbers from its luma, at one working size for every resolution."""

import numpy as np
from PIL import Image

WORKING = 256
"""Pixels of the shorter side at which frames are measured, so that numbers compare between resolutions; a frame that
is smaller is measured as it is."""
NAMES = ("sharpness", "brightness", "contrast", "entropy", "black_bars", "solid")
BLACK = 32
"""Grey level up to which a pixel counts as black: video black is 16, and compression spreads it."""
BARRED = 0.98
"""Share of a line's pixels that are black, from which on the line belongs to a bar."""
NEAR = 16
"""Neighbouring grey levels that count as one colour."""


def measure(picture: Image.Image) -> tuple[float, ...]:
    """Sharpness, brightness, contrast, entropy, black bars and near-solid share of an RGB picture; see each of them."""
    shown = luma(picture)
    grey = np.asarray(shown)
    share = np.array(shown.histogram()) / grey.size
    levels = np.arange(256)
    brightness = float(share @ levels)
    contrast = float(np.sqrt(share @ (levels - brightness) ** 2))
    return sharpness(grey), brightness, contrast, entropy(share), black_bars(grey), solid(share)


def luma(picture: Image.Image) -> Image.Image:
    """BT.601 luma (0 to 255) of an RGB picture, scaled down until its shorter side has `WORKING` pixels."""
    grey = picture.convert("L")
    scale = WORKING / min(grey.size)
    if scale >= 1:
        return grey
    return grey.resize((round(grey.width * scale), round(grey.height * scale)), Image.Resampling.BILINEAR)


def sharpness(grey: np.ndarray) -> float:
    """Variance of the Laplacian (the four neighbours less four times the middle), edges of the picture left out."""
    if min(grey.shape) < 3:
        return 0.0
    wide = grey.astype(np.int16)
    laplacian = wide[1:-1, 1:-1] * np.int16(-4)
    for neighbour in (wide[1:-1, :-2], wide[1:-1, 2:], wide[:-2, 1:-1], wide[2:, 1:-1]):
        laplacian += neighbour
    return float(laplacian.var(dtype=np.float32))


def entropy(share: np.ndarray) -> float:
    """Bits of a histogram of grey levels: 0 for one colour, 8 for all alike."""
    there = share[share > 0]
    return float(-(there * np.log2(there)).sum()) + 0.0


def black_bars(grey: np.ndarray) -> float:
    """Share of the picture in black bars at its edges; 1 for a black picture."""
    black = grey <= BLACK
    rows, columns = (np.flatnonzero(black.sum(a, np.uint32) < BARRED * black.shape[a]) for a in (1, 0))
    if not len(rows) or not len(columns):
        return 1.0
    inside = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    return float(1 - inside / grey.size)


def solid(share: np.ndarray) -> float:
    """Largest share of the picture within `NEAR` neighbouring grey levels: 1 for a picture of one colour."""
    total = np.concatenate([[0], np.cumsum(share)])
    return float((total[NEAR:] - total[:-NEAR]).max())
