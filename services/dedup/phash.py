"""A perceptual hash of 64 bits: which of the 64 lowest frequencies of a small grey picture are above their median."""

import numpy as np

from lodestream.inference.features import BROKEN, Feature
from lodestream.inference.frames import Pictures, Size

SIDE, LOW = 32, 8
"""Pixels of the small picture, and frequencies of each direction that count."""
NOISE = 1.0
"""Grey levels (0 to 255) that a frequency swings by at least, or it counts as absent: a coder's noise."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
SIZE = Size(SIDE, SIDE)


def _cosines() -> np.ndarray:
    """Frequencies 1 to LOW of the cosine transform (type II, orthonormal) of SIDE samples."""
    sample, frequency = np.arange(SIDE) + 0.5, np.arange(1, LOW + 1)[:, None]
    return (np.sqrt(2 / SIDE) * np.cos(np.pi * frequency * sample / SIDE)).astype(np.float32)


_COSINES = _cosines()


def hashed(pictures: np.ndarray) -> np.ndarray:
    """Bits (n, 64), as 0 and 1 in float16, of pictures (n, SIDE, SIDE, 3), uint8.

    The mean of rows and of columns is left out, as in pHash's own DCT hash. A picture of one colour has no bit set.
    """
    grey = pictures.astype(np.float32) @ GREY
    swings = _COSINES @ grey @ _COSINES.T
    swings[np.abs(swings) < NOISE * SIDE / 2] = 0  # one of amplitude a has a * SIDE / 2
    flat = swings.reshape(len(pictures), LOW * LOW)
    return (flat > np.median(flat, axis=1, keepdims=True)).astype(np.float16)


def codes(bits: np.ndarray) -> np.ndarray:
    """Bits (n, 64) as one number each, uint64; what is not finite counts as 0."""
    return np.packbits(np.nan_to_num(bits) > 0.5, axis=1).view(">u8").ravel().astype(np.uint64)


async def _hash(pictures: Pictures, indices: list[int], triton: object) -> np.ndarray:
    pixels, broken = await pictures.at(indices, *SIZE)
    rows = hashed(pixels)
    rows[np.isin(indices, broken)] = BROKEN
    return rows


PHASH = Feature("phash-1", LOW * LOW, np.float16, _hash, SIZE)  # type: ignore[arg-type]
"""The hash of a frame; the number is raised when it is reckoned otherwise."""
