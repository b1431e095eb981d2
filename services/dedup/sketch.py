"""Sketches: a few numbers for each vector, whose dot product is never below the cosine of the vectors."""

import numpy as np

SAMPLE = 8192
"""Kept rows that a basis is fitted on, half of them, and judged on, the other half."""
WIDTHS = (31, 47, 63, 95, 127, 191, 255, 383)
"""Directions that a basis may have."""
COMPARE, PRODUCT, CHECK = 0.5, 0.022, 4000.0
"""Nanoseconds: for each row scanned, for each of its numbers, and for each vector that must be looked at."""
BELOW_ROOT = 1e-6
"""Keeps the last number above 0 where subtracting rounds to less: the bound would not hold."""


def sketch(x: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    """Rows `[Bx, |x - B'Bx|]` of the rows of `x` (float32); without a basis, of the whole vectors.

    By Cauchy-Schwarz the dot product of two of them is never below that of the vectors, whatever the basis B is, as
    long as its columns are orthonormal: a scan of sketches misses nothing, and a bad basis costs only time.
    """
    inside = x if basis is None else x @ basis
    outside = np.maximum(np.einsum("ij,ij->i", x, x) - np.einsum("ij,ij->i", inside, inside), 0)
    return np.hstack([inside, np.sqrt(outside + BELOW_ROOT)[:, None]])


def fitted(x: np.ndarray, threshold: float) -> np.ndarray:
    """A basis (dim, width) for vectors like these: the leading directions of every other row.

    Its width is the one whose scans and checks cost least on the rows in between: on the same rows a narrow basis
    would look better than it is.
    """
    fit, held_out = x[::2], x[1::2]
    leading = np.linalg.eigh(fit.T @ fit)[1][:, ::-1].astype(np.float32)
    widths = [width for width in WIDTHS if width < x.shape[1]]
    if not widths:
        return np.ascontiguousarray(leading)
    costs = {width: _cost(sketch(held_out, leading[:, :width]), threshold) for width in widths}
    return np.ascontiguousarray(leading[:, : min(costs, key=lambda width: costs[width])])


def _cost(z: np.ndarray, threshold: float) -> float:
    """Nanoseconds for each row that is scanned."""
    survivors = np.triu(z @ z.T >= threshold, 1).mean()
    return COMPARE + PRODUCT * (z.shape[1] - 1) + CHECK * float(survivors)
