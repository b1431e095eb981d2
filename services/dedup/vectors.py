"""Kept vectors, searched exactly: float16 rows for the check, a sketch of each in memory for the scan."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np

from services.dedup import cosine
from services.dedup.cosine import SLACK, Rows, settle, settle_matrix
from services.dedup.sketch import SAMPLE, fitted, sketch

ROWS, MORE = 1 << 15, 2048
"""Rows after which a chunk is full, and room for what one block of frames may bring beyond."""
FIRST, GROWTH = 1024, 4
"""Rows before the first basis, and growth of their number until the next."""
AT_ONCE = 4096
"""Rows that are sketched at once."""
NUMBERS = 1 << 18
"""Products that a scan makes at once, so that they stay in the cache."""


class Chunk:
    """Some rows in the order of their coming; `vectors` may be a mapped file, and is never written to once loaded."""

    def __init__(self, vectors: np.ndarray, start: int, count: int = 0):
        self.vectors, self.start, self.count = vectors, start, count
        self.scales = np.zeros(len(vectors), np.float32)
        """0 for rows that are no more, too."""
        self.sketches = np.zeros((0, 0), np.float32)

    def units(self, rows: Any) -> np.ndarray:
        """Vectors of length 1, float32."""
        return self.vectors[rows].astype(np.float32) * self.scales[rows][:, None]


class Vectors:
    """The kept vectors of one project; rows are numbered from 0 as they come."""

    name = "vectors"

    def __init__(self, dim: int, threshold: float, pool: Executor):
        """`threshold` is a cosine, above 0; `pool` has the threads that scan."""
        self.dim, self.threshold = dim, float(np.float32(threshold))
        self.basis: np.ndarray | None = None
        self.fitted = 0
        """Rows at which it was fitted."""
        self.count = self.asked = self.checked = 0
        self.chunks: list[Chunk] = []
        self._pool = pool

    def add(self, rows: np.ndarray) -> None:
        """Append rows (n, dim), float16."""
        while len(rows):
            if not self.chunks or self.chunks[-1].count == len(self.chunks[-1].vectors):
                chunk = Chunk(np.zeros((ROWS + MORE, self.dim), np.float16), self.count)
                chunk.sketches = np.zeros((len(chunk.vectors), self.width), np.float32)
                self.chunks.append(chunk)
            chunk = self.chunks[-1]
            some = rows[: min(AT_ONCE, len(chunk.vectors) - chunk.count)]
            part = slice(chunk.count, chunk.count + len(some))
            chunk.vectors[part] = some
            chunk.scales[part] = cosine.scales(some)
            chunk.sketches[part] = sketch(chunk.units(part), self.basis)
            chunk.count += len(some)
            self.count += len(some)
            rows = rows[len(some) :]
            if self.count >= max(FIRST, GROWTH * self.fitted):
                self.fit()

    def load(self, rows: np.ndarray, scales: np.ndarray, sketches: np.ndarray) -> None:
        """Append a chunk as it was stored, with what `sketched` gives for it."""
        chunk = Chunk(rows, self.count, len(rows))
        chunk.scales, chunk.sketches = scales, sketches
        self.chunks.append(chunk)
        self.count += len(rows)

    def sketched(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scales and sketches, by the present basis, of rows (n, dim), float16."""
        chunk = Chunk(rows, 0, len(rows))
        for start in range(0, len(rows), AT_ONCE):
            chunk.scales[start : start + AT_ONCE] = cosine.scales(rows[start : start + AT_ONCE])
        self._sketch(chunk)
        return chunk.scales, chunk.sketches

    def move(self, start: int, rows: np.ndarray) -> None:
        """Rows from `start` on, to the last one, lie here now: the memory that they are in is let go."""
        if self.chunks and (last := self.chunks[-1]).start == start and last.count == len(rows):
            last.vectors = rows
            last.scales, last.sketches = last.scales[: len(rows)].copy(), last.sketches[: len(rows)].copy()

    def fit(self) -> None:
        """Choose a basis anew, and sketch all rows by it."""
        sample = np.random.default_rng(self.count).permutation(self.count)[:SAMPLE]
        self.set_basis(fitted(self.rows(np.sort(sample)), self.threshold), self.count)

    def set_basis(self, basis: np.ndarray, fitted_at: int) -> None:
        """Use a basis that was fitted when there were so many rows."""
        self.basis, self.fitted = basis, fitted_at
        for chunk in self.chunks:
            self._sketch(chunk)

    @property
    def width(self) -> int:
        """Numbers of a sketch."""
        return 1 + (self.dim if self.basis is None else self.basis.shape[1])

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Vectors of length 1 (n, dim), float32."""
        return self._gather(numbers, Chunk.units, np.float32)

    def stored(self, numbers: np.ndarray) -> np.ndarray:
        """Vectors as they are kept (n, dim), float16."""
        return self._gather(numbers, lambda chunk, rows: chunk.vectors[rows], np.float16)

    def drop(self, numbers: Sequence[int] | np.ndarray) -> None:
        """Take rows out of the search; their numbers stay taken."""
        for chunk in self.chunks:
            inside = np.asarray(numbers) - chunk.start
            inside = inside[(inside >= 0) & (inside < chunk.count)]
            chunk.scales[inside] = 0
            chunk.sketches[inside] = 0

    def shown(self, rows: np.ndarray) -> Rows:
        """Rows (n, dim), float16, as the questions below take them."""
        return Rows(rows)

    def nearest(self, asked: Rows) -> tuple[np.ndarray, np.ndarray]:
        """For each row asked: number and cosine of the nearest kept row over the threshold.

        The earliest of equals; number -1 where there is none. Exact.
        """
        self.asked += len(asked)
        number, best = np.full(len(asked), -1), np.zeros(len(asked), np.float32)
        turned = np.ascontiguousarray(sketch(asked.unit, self.basis).T)
        scans = [chunk for chunk in self.chunks if chunk.count]
        for found in self._pool.map(lambda chunk: self._scan(chunk, asked, turned), scans):
            for rows, columns, similar in found:
                self.checked += len(rows)
                _take_best(number, best, rows, columns, similar, self.threshold)
        return number, best

    def within(self, rows: Rows) -> np.ndarray:
        """Cosines (n, n) of rows among themselves."""
        cosines = rows.unit @ rows.unit.T
        settle_matrix(cosines, self.threshold, rows.stored, rows.stored)
        return cosines

    def against(self, rows: Rows, numbers: np.ndarray) -> np.ndarray:
        """Cosines (n, k) of rows and of kept ones."""
        cosines = rows.unit @ self.rows(numbers).T
        settle_matrix(cosines, self.threshold, rows.stored, self.stored(numbers))
        return cosines

    def _scan(self, chunk: Chunk, asked: Rows, turned: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Numbers of rows that may be near, what asked for them, and their cosines."""
        found, width = [], turned.shape[1]
        step = max(256, NUMBERS // width)
        for start in range(0, chunk.count, step):
            near = chunk.sketches[start : min(chunk.count, start + step)] @ turned >= self.threshold - SLACK
            rows, columns = np.divmod(np.flatnonzero(near.ravel()), width)
            if len(rows):
                rows += start
                similar = np.einsum("ij,ij->i", chunk.units(rows), asked.unit[columns])
                settle(similar, self.threshold, chunk.vectors[rows], asked.stored[columns])
                found.append((chunk.start + rows, columns, similar))
        return found

    def _sketch(self, chunk: Chunk) -> None:
        chunk.sketches = np.zeros((len(chunk.vectors), self.width), np.float32)
        for start in range(0, chunk.count, AT_ONCE):
            part = slice(start, min(chunk.count, start + AT_ONCE))
            chunk.sketches[part] = sketch(chunk.units(part), self.basis)

    def _gather(self, numbers: np.ndarray, take: Callable[[Chunk, Any], np.ndarray], kind: Any) -> np.ndarray:
        numbers = np.asarray(numbers)
        found = np.zeros((len(numbers), self.dim), kind)
        for chunk in self.chunks:
            here = (numbers >= chunk.start) & (numbers < chunk.start + chunk.count)
            if here.any():
                found[here] = take(chunk, numbers[here] - chunk.start)
        return found


def _take_best(
    number: np.ndarray,
    best: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    similar: np.ndarray,
    threshold: float,
) -> None:
    """Keeps for each column the most similar row, the earliest of equals; chunks come in order of their rows."""
    good = np.flatnonzero(similar >= threshold)
    order = good[np.lexsort((rows[good], -similar[good], columns[good]))]
    column, first = np.unique(columns[order], return_index=True)
    found = order[first]
    better = similar[found] > best[column]
    number[column[better]], best[column[better]] = rows[found[better]], similar[found[better]]
