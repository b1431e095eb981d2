"""Cosines of stored vectors: float16 rows, summed in float32, and in float64 where the threshold is that near."""

import numpy as np

SLACK = 1e-5
"""What rounding can do to a cosine in float32."""
AT_ONCE = 4096
"""Pairs that are summed in float64 at once."""


def scales(rows: np.ndarray) -> np.ndarray:
    """What each row (float16) is multiplied by to have length 1; 0 where it has no direction."""
    wide = rows.astype(np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 0, 1 / length, 0).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows in float32, of length 1, or 0 where there is no direction."""
    return rows.astype(np.float32) * scales(rows)[:, None]


def usable(rows: np.ndarray) -> np.ndarray:
    """Which rows can be judged: finite, with a direction."""
    finite = np.isfinite(rows).all(axis=1)
    return finite & (scales(np.where(finite[:, None], rows, 0)) > 0)


def settle(cosines: np.ndarray, threshold: float, one: np.ndarray, other: np.ndarray) -> None:
    """Sums those of `cosines` (n) again that are within rounding of the threshold; row i is of `one[i]`, `other[i]`.

    So a verdict does not hang on the order in which float32 products were added up, nor on what was asked beside it.
    """
    near = np.flatnonzero(np.abs(cosines - threshold) < SLACK)
    for start in range(0, len(near), AT_ONCE):
        some = near[start : start + AT_ONCE]
        cosines[some] = _exact(one[some], other[some], threshold)


def settle_matrix(cosines: np.ndarray, threshold: float, one: np.ndarray, other: np.ndarray) -> None:
    """As `settle`, for all rows of `one` against all of `other`."""
    flat = np.flatnonzero(np.abs(cosines - threshold) < SLACK)
    for start in range(0, len(flat), AT_ONCE):
        some = flat[start : start + AT_ONCE]
        r, c = np.divmod(some, cosines.shape[1])
        cosines[r, c] = _exact(one[r], other[c], threshold)


def _exact(one: np.ndarray, other: np.ndarray, threshold: float) -> np.ndarray:
    """Cosines that are right on their side of the threshold also after they are rounded to float32."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b)
    found = np.einsum("ij,ij->i", a, b) / np.sqrt(lengths)
    rounded = found.astype(np.float32)
    limit = np.float32(threshold)
    rounded[(found >= threshold) & (rounded < limit)] = limit
    rounded[(found < threshold) & (rounded >= limit)] = np.nextafter(limit, np.float32(-1))
    return rounded
