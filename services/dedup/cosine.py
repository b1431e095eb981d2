"""Cosines of stored vectors: float16 rows, summed in float32, and in float64 where the threshold is that near."""

import numpy as np

SLACK = 1e-5
"""What rounding can do to a cosine in float32."""
AT_ONCE = 4096
"""Pairs that are summed in float64 at once."""


class Rows:
    """Rows as they are stored, float16, and in float32 of length 1, or 0 where they have no direction."""

    def __init__(self, stored: np.ndarray, unit: np.ndarray | None = None):
        self.stored = stored
        if unit is None:
            unit = stored.astype(np.float32)
            unit *= _scales(unit)[:, None]
        self.unit = unit

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, some: np.ndarray) -> "Rows":
        return Rows(self.stored[some], self.unit[some])


def scales(rows: np.ndarray) -> np.ndarray:
    """What each row (float16) is multiplied by to have length 1; 0 where it has no direction."""
    return _scales(rows.astype(np.float32))


def _scales(wide: np.ndarray) -> np.ndarray:
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(length > 0, 1 / length, 0).astype(np.float32)


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
    away = cosines - threshold
    flat = np.flatnonzero(np.abs(away, out=away) < SLACK)
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
