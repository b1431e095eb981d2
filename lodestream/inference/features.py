"""What is known of frames, once for all flows: per shard one array of a feature, kept as an object with a manifest.

Only the frames that are asked for are computed; a later ask adds what is missing. Objects first, manifest second, so a
kill anywhere costs at most one redo.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import msgspec
import numpy as np

from lodestream.errors import Malformed, Outage
from lodestream.inference import EMBED, measures
from lodestream.inference.frames import Pictures, Size
from lodestream.inference.stored import Stored
from lodestream.job import Job
from proto import ids, keys
from proto.messages import Shard

if TYPE_CHECKING:
    from lodestream.inference.client import Triton
    from lodestream.models.card import Card

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
        ident = f"{shard.id}-{shard.sha256[: keys.DIGITS]}"  # by its bytes: two flows may share a shard's id
        shape = len(shard.time_ms), feature.dim
        stored = Stored(job.parts.objects, feature.name, shard.media_id, ident, shape, feature.dtype)
        known = await stored.read()
        if _missing(known, indices):
            known = await self._complete(job, shard, feature, stored, indices, pictures)
        return np.where(np.isneginf(known), np.nan, known).astype(feature.dtype, copy=False)

    async def _complete(
        self,
        job: Job,
        shard: Shard,
        feature: Feature,
        stored: Stored,
        indices: Sequence[int],
        pictures: Pictures | None,
    ) -> Rows:
        """Compute what is missing, unless somebody else is at it: then take theirs."""
        turn = self._turns.setdefault(stored.name, asyncio.Lock())
        async with (
            _held(turn, job),
            job.parts.leases.hold(EMBED, stored.name, job.parked),
            AsyncExitStack() as stack,
        ):
            known = await stored.read()
            if missing := _missing(known, indices):
                started = time.perf_counter()
                if pictures is None:
                    pictures = await stack.enter_async_context(Pictures(job, shard))
                known[missing] = await feature.compute(pictures, missing, self._triton)
                if not job.parts.forgotten.names(shard.media_id):
                    await stored.write(known, time.perf_counter() - started)
        return known


@asynccontextmanager
async def _held(turn: asyncio.Lock, job: Job) -> AsyncIterator[None]:
    """Waits for it without a place: who holds it may want one, and must not find all taken by those who wait."""
    taken = False
    try:
        if turn.locked():
            async with job.parked():
                taken = await turn.acquire()
        else:
            taken = await turn.acquire()
        yield
    finally:
        if taken:
            turn.release()


def _missing(known: Rows, indices: Sequence[int]) -> list[int]:
    return [index for index in indices if np.isnan(known[index, 0])]


def vectors(card: Card, sha256: str = "") -> Feature:
    """The embedding of a model's image tower, float16, of length 1; `sha256` of the graph as it is installed."""
    size = Size(card.height, card.width, card.resample)
    made_by = [sha256 or card.revision, size, card.mean, card.std]
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
    asked = {"image": pixels[~broken] if broken.any() else pixels}
    found = await triton.infer(card.parts["image"], asked, ["embedding"], {"embedding": (card.dim,)})
    rows[~broken] = normalised(found["embedding"])


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
