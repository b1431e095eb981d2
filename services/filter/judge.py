"""Why a frame is dropped, in words; nothing where it is kept."""

from collections.abc import Sequence
from typing import NamedTuple

from proto.messages import Shard
from services.filter.settings import Filter


class No(NamedTuple):
    """Why a frame is dropped."""

    kind: str
    """The same for all frames that are dropped for the same: `sharpness under 40`."""
    text: str


class Score(NamedTuple):
    """How well a prompt fits: greater is better, also where both probabilities are 1 as far as a float can tell."""

    probability: float
    logit: float


class _Best(NamedTuple):
    score: Score
    prompt: str

    @property
    def said(self) -> str:
        return f"{self.score.probability:.2g}"

    def __str__(self) -> str:
        return f"{self.prompt!r} ({self.said})"


BROKEN = No("broken JPEG", "broken JPEG")
NO_NUMBER = No("the model gave no number", "the model gave no number")
DIGITS = {"sharpness": 1, "brightness": 1, "contrast": 1, "entropy": 2, "black_bars": 3, "solid": 3}
"""Decimals of measures; they are judged as they are shown."""


def of_size(shard: Shard, settings: Filter) -> No | None:
    """What is wrong with all frames of a shard before one is decoded."""
    facts = {"width": shard.width, "height": shard.height, "aspect": round(shard.width / shard.height, 3)}
    return _bounds(facts, settings)


def of_measures(measures: dict[str, float], settings: Filter) -> No | None:
    """What is wrong with a frame without asking a model."""
    return _bounds(measures, settings)


def of_scores(keep: Sequence[Score], drop: Sequence[Score], settings: Filter) -> No | None:
    """What prompts have against a frame, given how well each fits it."""
    for_it, against_it = _best(keep, settings.keep), _best(drop, settings.drop)
    least = f"{settings.threshold:g}"
    if for_it and for_it.score.probability < settings.threshold:
        return No(f"no prompt over {least}", f"no prompt over {least}: best {for_it.prompt!r} {for_it.said}")
    if against_it and not for_it and against_it.score.probability >= settings.threshold:
        return No(f"a prompt to drop over {least}", f"like {against_it}")
    if for_it and against_it and for_it.score < against_it.score:
        return No("closer to a prompt to drop", f"closer to {against_it} than to {for_it}")
    if for_it and against_it and for_it.score.probability - against_it.score.probability < settings.margin:
        margin = f"less than {settings.margin:g} over"
        return No(f"{margin} a prompt to drop", f"{for_it} {margin} {against_it}")
    return None


def not_best(settings: Filter, of: str) -> No:
    """That others of its video fit better."""
    text = f"not among the best {settings.top_k} of its {of}"
    return No(text, text)


def _bounds(facts: dict[str, float], settings: Filter) -> No | None:
    for name, value in facts.items():
        least, most = getattr(settings, f"min_{name}", None), getattr(settings, f"max_{name}", None)
        said = name.replace("_", " ")
        if least is not None and value < least:
            return No(f"{said} under {least:g}", f"{said} {value:.10g} under {least:g}")
        if most is not None and value > most:
            return No(f"{said} over {most:g}", f"{said} {value:.10g} over {most:g}")
    return None


def _best(scores: Sequence[Score], prompts: Sequence[str]) -> _Best | None:
    return max(map(_Best, scores, prompts), key=lambda best: best.score) if scores else None
