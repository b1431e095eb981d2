"""What is found out about the frames of a shard: cheap measures first, and prompts for those that pass."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

import numpy as np

from lodestream.inference.features import MEASURES, Features
from lodestream.inference.frames import Pictures
from lodestream.inference.installed import Installed, installed
from lodestream.inference.measures import NAMES
from lodestream.inference.prompts import Prompts
from lodestream.job import Job
from proto.messages import Shard
from services.filter import judge
from services.filter.judge import No, Score
from services.filter.settings import Filter

Numbers = list[float | None]


class Seen(NamedTuple):
    """A shard as it was looked at; every list has one element for each of its frames."""

    no: list[No | None]
    """Why a frame is dropped; None for one that is kept, and for one that was not asked for."""
    measures: dict[str, Numbers]
    scores: dict[str, Numbers]
    """By prompt: probabilities."""
    best: list[Score | None]
    """Of the prompts to keep the one that fits best."""
    model: str
    """That gave the scores; empty where none was asked."""


async def look(job: Job, features: Features, prompts: Prompts, shard: Shard, indices: Sequence[int]) -> Seen:
    """What is found of these frames; a frame that fails is asked no more. Raises Missing, Malformed, Outage."""
    settings, count = job.settings, len(shard.time_ms)
    seen = Seen([None] * count, {name: [None] * count for name in NAMES}, {}, [None] * count, "")
    if wrong := judge.of_size(shard, settings):
        for index in indices:
            seen.no[index] = wrong
        return seen
    async with AsyncExitStack() as stack:
        asked = [*settings.keep, *settings.drop]
        model = await installed(job.parts, settings.model) if asked else None
        texts = await prompts.vectors(job, model, asked) if model else None
        pictures = await stack.enter_async_context(Pictures(job, shard, model.image.size if model else None))
        _measure(seen, settings, indices, await features.rows(job, shard, MEASURES, indices, pictures))
        left = [index for index in indices if not seen.no[index]]
        if model is None or texts is None:
            return seen
        seen = seen._replace(model=model.card.name, scores={prompt: [None] * count for prompt in asked})
        if left:
            vectors = await features.rows(job, shard, model.image, left, pictures)
            _score(seen, settings, left, logits(vectors[left], texts, model, settings.temperature))
    return seen


def logits(vectors: np.ndarray, texts: np.ndarray, model: Installed, temperature: float | None) -> np.ndarray:
    """SigLIP's: cosines scaled and shifted, of which the sigmoid is a probability; pictures by texts."""
    scale = model.card.logit_scale if temperature is None else temperature
    return scale * (vectors.astype(np.float64) @ texts.T.astype(np.float64)) + model.card.logit_bias


def _measure(seen: Seen, settings: Filter, indices: Sequence[int], rows: np.ndarray) -> None:
    for index in indices:
        if np.isnan(rows[index, 0]):
            seen.no[index] = judge.BROKEN
            continue
        facts = {name: round(float(v), judge.DIGITS[name]) for name, v in zip(NAMES, rows[index], strict=True)}
        for name, value in facts.items():
            seen.measures[name][index] = value
        seen.no[index] = judge.of_measures(facts, settings)


def _score(seen: Seen, settings: Filter, indices: Sequence[int], rows: np.ndarray) -> None:
    kept = len(settings.keep)
    probabilities = 1 / (1 + np.exp(-np.clip(rows, -700, 700)))
    for index, row, chances in zip(indices, rows.tolist(), probabilities.tolist(), strict=True):
        if not np.isfinite(row).all():
            seen.no[index] = judge.NO_NUMBER
            continue
        scores = [Score(float(f"{p:.4g}"), round(logit, 6)) for p, logit in zip(chances, row, strict=True)]
        for prompt, score in zip(seen.scores, scores, strict=True):
            seen.scores[prompt][index] = score.probability  # judged as it is shown
        seen.best[index] = max(scores[:kept], default=None)
        seen.no[index] = judge.of_scores(scores[:kept], scores[kept:], settings)
