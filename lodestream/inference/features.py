"""What is known of frames, once for all flows: per shard one array of a feature, kept as an object with a manifest.

Only the frames that are asked for are computed; a later ask adds what is missing. Objects first, manifest second, so a
kill anywhere costs at most one redo.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import msgspec
import numpy as np

from lodestream.blobs import Blob
from lodestream.errors import Malformed, Outage
from lodestream.inference import measures
from lodestream.inference.frames import Pictures, Size
from lodestream.job import Job
from lodestream.memo import Memo
from proto import ids, keys
from proto.messages import Shard

if TYPE_CHECKING:
    from lodestream.inference.client import Triton
    from lodestream.models.card import Card

EMBED = "embed"
"""Under this name features have their manifests and leases."""
ACCESS = (keys.VECTORS, keys.memos(EMBED))
"""Beginnings of keys that a node type which asks for features reads and writes."""
CHUNK = 64
"""Frames that are decoded while those before them are with the model."""
BROKEN = -np.inf
"""Fills the stored row of a frame whose JPEG is broken: known, and never computed again."""

Rows = np.ndarray


@dataclass(frozen=True)
class Feature:
    """Something that is known of a frame: `dim` numbers."""

    name: str
    """Part of object keys; another one wherever the numbers would be others."""
    dim: int
    dtype: type[np.floating]
    compute: Callable[[Pictures, Sequence[int], Triton | None], Awaitable[Rows]]
    """Rows of these frames; NaN where there is no number, `BROKEN` where the JPEG is broken."""
    size: Size | None = None
    """Of the pictures that it asks for."""


class Features:
    """The features of frames, for one worker."""

    def __init__(self, triton: Triton | None = None):
        """Without Triton there are `MEASURES` only."""
        self._triton = triton
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def rows(
        self, job: Job, shard: Shard, feature: Feature, indices: Sequence[int], pictures: Pictures | None = None
    ) -> Rows:
        """A feature's rows (frames, dim): all that are known, among them those of `indices`.

        NaN for a frame that is broken, that the model gives no number for, or that nobody asked for so far. `pictures`
        is given where its frames serve more than one feature. Raises Missing, Outage.
        """
        if indices and not 0 <= min(indices) <= max(indices) < len(shard.time_ms):
            raise Malformed("malformed message", f"frame {max(indices)} of a shard of {len(shard.time_ms)}")
        kept = _Kept(job, shard, feature)
        known = await kept.read()
        if _missing(known, indices):
            known = await self._complete(job, kept, indices, pictures)
        return np.where(np.isneginf(known), np.nan, known).astype(feature.dtype, copy=False)

    async def _complete(self, job: Job, kept: _Kept, indices: Sequence[int], pictures: Pictures | None) -> Rows:
        """Compute what is missing, unless somebody else is at it: then take theirs."""
        turn = self._turns.setdefault(kept.lease, asyncio.Lock())
        async with turn, job.parts.leases.hold(EMBED, kept.lease, job.parked), AsyncExitStack() as stack:
            known = await kept.read()
            if missing := _missing(known, indices):
                started = time.perf_counter()
                if pictures is None:
                    pictures = await stack.enter_async_context(Pictures(job, kept.shard))
                known[missing] = await kept.feature.compute(pictures, missing, self._triton)
                await kept.write(known, time.perf_counter() - started)
        return known


class _Kept:
    """One feature of one shard in the object store."""

    def __init__(self, job: Job, shard: Shard, feature: Feature):
        self.shard, self.feature = shard, feature
        self._objects, self._forgotten = job.parts.objects, job.parts.forgotten
        self._memo = Memo(self._objects, EMBED, feature.name)
        self._ident = f"{shard.id}-{shard.sha256[: keys.DIGITS]}"  # by its bytes: two flows may share a shard's id
        self.lease = f"{feature.name}-{self._ident}"

    async def read(self) -> Rows:
        """What is known; all NaN where there is nothing, or nothing that can be read."""
        shape = len(self.shard.time_ms), self.feature.dim
        with suppress(KeyError, ValueError, EOFError):
            if (manifest := await self._memo.find(self._ident)) and manifest.blobs:
                rows = np.load(BytesIO(await self._objects.get(manifest.blobs[0].key)), allow_pickle=False)
                if (rows.shape, rows.dtype) == (shape, self.feature.dtype):
                    return rows
        return np.full(shape, np.nan, self.feature.dtype)

    async def write(self, rows: Rows, seconds: float) -> None:
        """Keep it, under another key than before; nothing is kept of a video that was forgotten meanwhile."""
        if self._forgotten.names(self.shard.media_id):
            return
        file = BytesIO()
        np.save(file, rows)
        data = file.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        key = keys.vectors(self.feature.name, self.shard.media_id, self._ident, digest)
        version = await self._objects.put(key, data)
        await self._memo.keep(self._ident, seconds, [], [Blob(key, len(data), digest, version)], None)
        async for old in self._objects.list(keys.vectors_of(self.feature.name, self.shard.media_id, self._ident)):
            if old.key != key:
                await self._objects.delete(old.key)


def _missing(known: Rows, indices: Sequence[int]) -> list[int]:
    return [index for index in indices if np.isnan(known[index, 0])]


def vectors(card: Card) -> Feature:
    """The embedding of a model's image tower: float16, of length 1."""
    size = Size(card.height, card.width, card.resample)
    made_by = [card.revision, size, card.mean, card.std, card.raw["image"], [file.sha256 for file in card.files]]
    name = f"{card.name}-{ids.digest(msgspec.json.encode(made_by), 4)}"
    return Feature(name, card.dim, np.float16, partial(_embed, card, size), size)


async def _embed(card: Card, size: Size, pictures: Pictures, indices: Sequence[int], triton: Triton | None) -> Rows:
    """Decodes some frames while the model has those before them."""
    if triton is None:
        raise Outage(f"model {card.name} wants Triton, and there is none")
    rows = np.full((len(indices), card.dim), np.nan, np.float16)
    before: asyncio.Future[None] = asyncio.ensure_future(asyncio.sleep(0))
    try:
        for start in range(0, len(indices), CHUNK):
            some = indices[start : start + CHUNK]
            pixels, broken = await pictures.at(some, *size)
            await before
            here = rows[start : start + CHUNK]
            before = asyncio.ensure_future(_infer(card, triton, pixels, np.isin(some, broken), here))
        await before
    finally:
        before.cancel()
    return rows


async def _infer(card: Card, triton: Triton, pixels: np.ndarray, broken: np.ndarray, rows: Rows) -> None:
    """Fills `rows` with the vectors of pictures."""
    rows[broken] = BROKEN
    if broken.all():
        return
    found = (await triton.infer(card.parts["image"], {"image": pixels[~broken]}, ["embedding"]))["embedding"]
    if found.shape != (len(pixels) - broken.sum(), card.dim):
        raise Outage(
            f"model {card.name} gives vectors of shape {found.shape[1:]}, and its card says {card.dim} numbers"
        )
    rows[~broken] = normalised(found)


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, float16; NaN where a row has no direction."""
    wide = vectors.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    unit[~np.isfinite(unit).all(axis=1)] = np.nan
    return unit.astype(np.float16)


async def _measure(pictures: Pictures, indices: Sequence[int], triton: Triton | None) -> Rows:
    found = await pictures.each(indices, measures.measure)
    broken = (BROKEN,) * len(measures.NAMES)
    return np.array([row or broken for row in found], np.float32).reshape(len(indices), len(measures.NAMES))


MEASURES = Feature("measures-1", len(measures.NAMES), np.float32, _measure)
"""`measures.NAMES` of a frame; the number is raised when they are reckoned otherwise."""
