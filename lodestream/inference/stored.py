"""One array in the object store with a manifest: whole, or made again."""

import hashlib
from contextlib import suppress
from io import BytesIO

import numpy as np

from lodestream.blobs import Blob
from lodestream.inference import EMBED
from lodestream.memo import Memo
from lodestream.objects import Objects
from proto import keys


class Stored:
    """Rows of a feature: of a shard of a video, or of a text."""

    def __init__(self, objects: Objects, feature: str, owner: str, ident: str, shape: tuple[int, ...], dtype: type):
        """`owner` is a video's id, or what stands in its place; `ident` tells the rows from all others."""
        self._objects, self._feature, self._owner, self._ident = objects, feature, owner, ident
        self._shape, self._dtype, self._memo = shape, dtype, Memo(objects, EMBED, feature)

    @property
    def name(self) -> str:
        """Tells it from all others, for a lease."""
        return f"{self._feature}-{self._ident}"

    async def read(self) -> np.ndarray:
        """What is known; NaN where there is nothing, or nothing that can be read."""
        with suppress(KeyError, ValueError, EOFError):
            if (manifest := await self._memo.find(self._ident)) and manifest.blobs:
                rows = np.load(BytesIO(await self._objects.get(manifest.blobs[0].key)), allow_pickle=False)
                if (rows.shape, rows.dtype) == (self._shape, self._dtype):
                    return rows
        return np.full(self._shape, np.nan, self._dtype)

    async def write(self, rows: np.ndarray, seconds: float) -> None:
        """Keep it under another key than before, then its manifest, then remove what there was; `seconds` it took."""
        file = BytesIO()
        np.save(file, rows)
        data = file.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        key = keys.vectors(self._feature, self._owner, self._ident, digest)
        version = await self._objects.put(key, data)
        await self._memo.keep(self._ident, seconds, [], [Blob(key, len(data), digest, version)], None)
        async for old in self._objects.list(keys.vectors_of(self._feature, self._owner, self._ident)):
            if old.key != key:
                await self._objects.delete(old.key)
