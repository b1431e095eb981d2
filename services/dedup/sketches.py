"""Sketches and their bases as they are kept beside a ledger: a restart need not reckon them anew. All can be."""

from io import BytesIO

import numpy as np

from lodestream.ledger.log import Range
from lodestream.objects import Objects
from proto import ids, keys
from services.dedup.vectors import Vectors


class Sketches:
    """Those of one ledger. Every method raises Outage."""

    def __init__(self, objects: Objects, prefix: str):
        self._objects, self._prefix = objects, prefix
        self._fitted = 0
        """Rows at which the basis was fitted that was read or kept last."""
        self._basis = ""

    async def read_basis(self, vectors: Vectors) -> None:
        """Have the vectors sketched by the newest basis, if there is one."""
        newest = [stat.key async for stat in self._objects.list(keys.ledger_bases(self._prefix))][-1:]
        for key in newest:
            data = await self._objects.get(key)
            basis = np.load(BytesIO(data), allow_pickle=False)
            if basis.shape[0] == vectors.dim:
                self._fitted, self._basis = int(key.rpartition("/")[2]), ids.digest(data, 4)
                vectors.set_basis(basis, self._fitted)

    async def keep_basis(self, vectors: Vectors) -> bool:
        """Keep the basis if it is a new one; whether it was."""
        if vectors.basis is None or vectors.fitted == self._fitted:
            return False
        file = BytesIO()
        np.save(file, vectors.basis)
        self._fitted, self._basis = vectors.fitted, ids.digest(file.getvalue(), 4)
        await self._objects.put(keys.ledger_basis(self._prefix, self._fitted), file.getvalue())
        return True

    async def read(self, of: Range, rows: int, width: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Scales and sketches of a segment's vectors by the present basis."""
        try:
            data = await self._objects.get(self._key(of))
        except KeyError:
            return None
        table = np.frombuffer(bytearray(data), np.float32)
        if table.size != rows * (width + 1):
            return None
        return table[:rows], table[rows:].reshape(rows, width)

    async def keep(self, of: Range, scales: np.ndarray, sketches: np.ndarray) -> None:
        """Keep them, in place of those by other bases."""
        key = self._key(of)
        await self._objects.put(key, scales.tobytes() + sketches.tobytes())
        async for old in self._objects.list(keys.ledger_sketches(self._prefix, of.first, of.last)):
            if old.key != key:
                await self._objects.delete(old.key)

    def _key(self, of: Range) -> str:
        return keys.ledger_sketch(self._prefix, of.first, of.last, self._basis or "whole")
