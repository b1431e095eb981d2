"""The peer of dedup: the same exact search with nothing around it. In memory, float32 alone, no ledger, no names."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

ROWS, FIRST, SLACK = 1 << 15, 1024, 1e-5


def sketch(x: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    """The part inside the basis, and the length of what is outside."""
    p = x @ basis if basis is not None else x
    return np.hstack([p, np.sqrt(np.maximum((x * x).sum(1) - (p * p).sum(1), 0) + 1e-6)[:, None]])


def greedy(over: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """In order: a row is kept unless an earlier kept row is over the threshold."""
    keep, alive = np.zeros(len(over), bool), alive.copy()
    for i in range(len(over)):
        if alive[i]:
            keep[i] = True
            alive[i + 1 :] &= ~over[i, i + 1 :]
    return keep


class Bare:
    """Kept vectors, float16, of length 1."""

    def __init__(self, dim: int, threshold: float, threads: int):
        self.dim, self.t, self.basis, self.n, self.due = dim, threshold, None, 0, FIRST
        self.chunks: list[tuple[np.ndarray, np.ndarray]] = []
        self.pool = ThreadPoolExecutor(threads)

    def fit(self) -> None:
        """Leading directions of half a sample; the width that costs least on the other half."""
        x = self.vectors(np.random.default_rng(self.n).permutation(self.n)[:8192])
        u = np.linalg.eigh((a := x[::2]).T @ a)[1][:, ::-1].astype(np.float32)
        cost = {}
        for m in (31, 47, 63, 95, 127, 191, 255, 383):
            s = sketch(x[1::2], u[:, :m])
            cost[m] = 0.5 + 0.022 * m + 4000 * np.triu(s @ s.T >= self.t, 1).mean()
        self.basis, self.due = np.ascontiguousarray(u[:, : min(cost, key=cost.get)]), 4 * self.n  # type: ignore[arg-type]
        self.chunks = [(v, sketch(v.astype(np.float32), self.basis)) for v, _ in self.chunks]

    def add(self, x: np.ndarray) -> None:
        """Append vectors."""
        while len(x):
            if (at := self.n % ROWS) == 0:
                width = 1 + (self.dim if self.basis is None else self.basis.shape[1])
                self.chunks.append((np.zeros((ROWS, self.dim), np.float16), np.zeros((ROWS, width), np.float32)))
            (v, z), k = self.chunks[-1], min(len(x), 4096, ROWS - at)
            v[at : at + k], z[at : at + k] = x[:k], sketch(x[:k].astype(np.float32), self.basis)
            self.n, x = self.n + k, x[k:]
            if self.n >= self.due:
                self.fit()

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Rows by number, float32."""
        return np.stack([self.chunks[r // ROWS][0][r % ROWS] for r in rows]).astype(np.float32)

    def nearest(self, q: np.ndarray) -> np.ndarray:
        """The nearest kept row over the threshold, -1 where there is none."""
        row, sim, sq = np.full(len(q), -1), np.zeros(len(q), np.float32), np.ascontiguousarray(sketch(q, self.basis).T)
        for found in self.pool.map(lambda c: list(self._scan(c, q, sq)), range(len(self.chunks))):
            for r, c, s in found:
                for i in np.flatnonzero((s >= self.t) & (s > sim[c])):
                    row[c[i]], sim[c[i]] = max((sim[c[i]], row[c[i]]), (s[i], r[i]))[::-1]
        return row

    def _scan(self, chunk: int, q: np.ndarray, sq: np.ndarray):
        (v, z), w, end = self.chunks[chunk], sq.shape[1], min(ROWS, self.n - chunk * ROWS)
        for a in range(0, end, step := max(256, (1 << 18) // w)):
            r, c = np.divmod(np.flatnonzero((z[a : min(end, a + step)] @ sq).ravel() >= self.t - SLACK), w)
            yield chunk * ROWS + a + r, c, np.einsum("ij,ij->i", v[a + r].astype(np.float32), q[c])

    def decide(self, half: np.ndarray) -> np.ndarray:
        """Which of some vectors are kept."""
        x = half.astype(np.float32)
        n, row, over = len(x), np.full(len(x), -1), x @ x.T >= self.t
        asked = ~(ok := (x * x).sum(1) > 0.5)
        while (ask := np.flatnonzero((keep := greedy(over, ok & (row < 0))) & ~asked)).size:
            row[ask], asked[ask] = self.nearest(x[ask]), True
            if (found := np.unique(row[ask][row[ask] >= 0])).size:
                near = (c := x @ self.vectors(found).T)[np.arange(n), j := c.argmax(1)]
                new = (near >= self.t) & (row < 0) & ~asked
                row[new] = found[j[new]]
        self.add(half[keep])
        return keep
