"""Kept perceptual hashes, searched exactly: every one is compared, 64 bits at a time."""

from concurrent.futures import Executor

import numpy as np

BITS = 64
ROWS = 1 << 15
"""Rows that one thread compares in one go."""


class Hashes:
    """The kept hashes of one project; rows are numbered from 0 as they come. Similarity is 1 - differing bits / 64."""

    name = "phash"

    def __init__(self, bits: int, pool: Executor):
        """Hashes that differ in `bits` bits at most are of one picture; `pool` has the threads that compare."""
        self.bits, self.threshold = bits, 1 - bits / BITS
        self.count = 0
        self._hashes, self._alive = np.zeros(ROWS, np.uint64), np.zeros(ROWS, bool)
        self._pool = pool

    def add(self, rows: np.ndarray) -> None:
        """Append rows (n), uint64."""
        end = self.count + len(rows)
        if end > len(self._hashes):
            room = max(2 * len(self._hashes), end)
            self._hashes, self._alive = _grown(self._hashes, room), _grown(self._alive, room)
        self._hashes[self.count : end], self._alive[self.count : end] = rows, True
        self.count = end

    def drop(self, numbers: np.ndarray) -> None:
        """Take rows out of the search; their numbers stay taken."""
        self._alive[numbers], self._hashes[numbers] = False, 0

    def shown(self, rows: np.ndarray) -> np.ndarray:
        """Hashes as the questions below take them."""
        return rows

    def nearest(self, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each hash asked (n): number and similarity of the nearest kept one within `bits`.

        The earliest of equals; number -1 where there is none. Exact.
        """
        number, differing = np.full(len(asked), -1), np.full(len(asked), BITS + 1)
        for rows, away in self._pool.map(lambda start: self._scan(start, asked), range(0, self.count, ROWS)):
            better = away < differing
            number[better], differing[better] = rows[better], away[better]
        return number, np.where(number >= 0, 1 - differing / BITS, 0).astype(np.float32)

    def within(self, rows: np.ndarray) -> np.ndarray:
        """Similarities (n, n) of hashes among themselves."""
        return _similarities(rows, rows)

    def against(self, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Similarities (n, k) of hashes and of kept ones."""
        return _similarities(rows, self._hashes[numbers])

    def _scan(self, start: int, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each asked, the nearest of one stretch of rows: number, and differing bits where these are few enough."""
        part = slice(start, min(self.count, start + ROWS))
        kept, alive = self._hashes[part], self._alive[part]
        rows, away = np.full(len(asked), -1), np.full(len(asked), BITS + 1)
        for place, hash in enumerate(asked):
            differing = np.bitwise_count(kept ^ hash)
            near = np.flatnonzero(differing <= self.bits)
            near = near[alive[near]]
            if len(near):
                first = near[differing[near].argmin()]
                rows[place], away[place] = start + first, differing[first]
        return rows, away


def _similarities(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (1 - np.bitwise_count(one[:, None] ^ other[None]) / BITS).astype(np.float32)


def _grown(array: np.ndarray, room: int) -> np.ndarray:
    larger = np.zeros(room, array.dtype)
    larger[: len(array)] = array
    return larger
