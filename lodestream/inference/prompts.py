"""What a model makes of texts: each is computed once, and kept for all flows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lodestream.errors import Outage
from lodestream.inference import EMBED
from lodestream.inference.features import normalised
from lodestream.inference.stored import Stored
from proto import ids

if TYPE_CHECKING:
    from lodestream.inference.client import Triton
    from lodestream.inference.installed import Installed
    from lodestream.job import Job

OWNER = "texts"
"""Stands where the vectors of frames have their video."""
MOST = 4096
"""Texts that are remembered in a worker; what is more is read from the store again."""


class Prompts:
    """The vectors of texts, for one worker."""

    def __init__(self, triton: Triton):
        self._triton = triton
        self._known: dict[tuple[str, str], np.ndarray] = {}
        self._turn = asyncio.Lock()

    async def vectors(self, job: Job, model: Installed, texts: Sequence[str]) -> np.ndarray:
        """A row of length 1 (float32) for each text. Raises Outage, also where the model gives no number for one."""
        while unknown := [text for text in texts if (model.text, text) not in self._known]:
            async with self._turn:
                if await self._read(job, model, unknown):
                    async with job.parts.leases.hold(EMBED, model.text):  # not parked: those behind have all places
                        if unread := await self._read(job, model, unknown):
                            await self._learn(job, model, unread)
        rows = np.stack([self._known[model.text, text] for text in texts])
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        return rows

    async def _read(self, job: Job, model: Installed, texts: Sequence[str]) -> list[str]:
        """Those that are not known, nor kept."""
        for text in texts:
            if (model.text, text) not in self._known:
                row = await _stored(job, model, text).read()
                if not np.isnan(row).any():
                    self._known[model.text, text] = row
        return [text for text in texts if (model.text, text) not in self._known]

    async def _learn(self, job: Job, model: Installed, texts: Sequence[str]) -> None:
        """From the model, and keep them."""
        card, started = model.card, time.perf_counter()
        tokens = await asyncio.to_thread(tokens_of, model, texts)
        found = await self._triton.infer(
            card.parts["text"], {"input_ids": tokens}, ["embedding"], {"embedding": (card.dim,)}
        )
        rows, seconds = normalised(found["embedding"]).astype(np.float32), time.perf_counter() - started
        for text, row in zip(texts, rows, strict=True):
            if np.isnan(row).any():
                raise Outage(f"model {card.parts['text']} gives no number for the prompt {text!r}")
            await _stored(job, model, text).write(row, seconds / len(texts))
            self._known[model.text, text] = row


def _stored(job: Job, model: Installed, text: str) -> Stored:
    return Stored(job.parts.objects, model.text, OWNER, ids.digest(text.encode()), (model.card.dim,), np.float32)


def tokens_of(model: Installed, texts: Sequence[str]) -> np.ndarray:
    """Texts as the text tower takes them: (n, text_length) token ids, cut or filled up. Raises Outage.

    In lower case, and filled up, because SigLIP 2 was trained so.
    """
    from tokenizers import Tokenizer

    length, pad = model.card.text_length, model.card.text_pad
    try:
        tokenizer: Any = Tokenizer.from_file(str(model.tokenizer))
    except Exception as error:  # the library raises nothing narrower
        raise Outage(
            f"tokenizer of model {model.card.name} cannot be read ({error}); see: lode models verify"
        ) from None
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=pad)
    return np.array([tokenizer.encode(text.lower()).ids for text in texts], np.int64)
