"""Vectors as frames of videos have them, made by hand, and what brute force says of them."""

import numpy as np


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


def spread(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """Random directions whose variance decays as that of image features does."""
    decay = np.arange(1, dim + 1, dtype=np.float32) ** -0.35
    return rng.standard_normal((count, dim), dtype=np.float32) * unit(decay)


def static(rng: np.random.Generator, scenes: int, count: int, dim: int) -> np.ndarray:
    """A few scenes in which nothing moves but noise, float16."""
    still = spread(rng, scenes, dim).repeat(-(-count // scenes), 0)[:count]
    return unit(still + 0.1 * spread(rng, count, dim)).astype(np.float16)


def pan(rng: np.random.Generator, count: int, dim: int, cosine: float) -> np.ndarray:
    """Each vector is at the same cosine from the one before it, float16."""
    one, other = spread(rng, 2, dim)
    one = unit(one)
    other = unit(other - (one @ other) * one)
    angle = np.arange(count)[:, None] * np.arccos(cosine)
    return (np.cos(angle) * one + np.sin(angle) * other).astype(np.float16)


def again(rng: np.random.Generator, vectors: np.ndarray, cosine: float) -> np.ndarray:
    """The same, coded once more: each at about this cosine from its original."""
    noise = unit(spread(rng, *vectors.shape))
    return unit(vectors.astype(np.float32) + (cosine**-2 - 1) ** 0.5 * noise).astype(np.float16)


def hard(rng: np.random.Generator, dim: int, threshold: float) -> np.ndarray:
    """What is hard to get right: still scenes, pans just over and under the threshold, uploads, rows that are none."""
    parts = [
        static(rng, 3, 90, dim),
        pan(rng, 60, dim, threshold + 5e-4),
        pan(rng, 40, dim, threshold - 5e-4),
        unit(rng.standard_normal((60, dim))).astype(np.float16),  # no direction leads
    ]
    parts += [again(rng, parts[0][:40], 0.95), again(rng, parts[3][:40], threshold + 0.01), parts[1][:20]]
    x = np.vstack(parts)
    x[7], x[50], x[95], x[201, 3] = np.nan, 0, np.inf, np.nan
    return x


def brute_force(x: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """One by one, in float64: which rows are kept, and the cosines of all with all (0 where a row is none)."""
    good = np.isfinite(x).all(axis=1)
    wide = np.where(good[:, None], x, 0).astype(np.float64)
    length = np.linalg.norm(wide, axis=1)
    good &= length > 0
    cosines = (wide / np.where(good, length, 1)[:, None]) @ (wide / np.where(good, length, 1)[:, None]).T
    kept = np.zeros(len(x), bool)
    for row in np.flatnonzero(good):
        kept[row] = not (cosines[row, :row][kept[:row]] >= threshold).any()
    return kept, cosines
