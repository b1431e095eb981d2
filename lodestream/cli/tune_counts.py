"""How many of a node's numbers lie where, and how many pass at which threshold."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lodestream.cli.tune_axis import case, edges

if TYPE_CHECKING:
    from lodestream.cli.instance import Ask
    from lodestream.cli.tune_scores import Node, Scores

STATS = "select count(*), min(value), median(value), max(value), count(*) filter (passes) from ({source})"
BARS = """select {bar} as bar, count(*) filter (passes), count(*) filter (not passes), count(*) filter (could)
from ({source}) group by bar"""
AT = """select count(*) filter (could and {over}), count(*) filter (passes and not {over}),
  count(*) filter (not passes and could and {over}) from ({source})"""


PARTS = {
    "kept": """select prompt, "role", best, kept, lowest, median, p90, highest from prompts where {mine}""",
    "boxes": """select label, count(*) as boxes, count(distinct frame_id) as frames, min(score) as lowest,
      median(score) as median, quantile_cont(score, 0.9) as p90, max(score) as highest
      from boxes where {mine} group by label order by boxes desc, label""",
}
"""By kind of node: its prompts, or its labels."""


class Parts(NamedTuple):
    """A table of a node's prompts or labels."""

    heads: list[str]
    rows: list[list[Any]]


class Bar(NamedTuple):
    """Values from `start` on, up to where the next one starts."""

    start: float
    passes: int
    others: int
    would: int
    """How many pass, of all values, if the threshold is at `start`."""


class Histogram(NamedTuple):
    """How the values lie."""

    bars: list[Bar]
    total: int
    passes: int


class Change(NamedTuple):
    """What another threshold does."""

    would: int
    """How many pass."""
    fewer: int
    """How many of those that pass today do not."""
    more: int
    """How many pass that do not today."""


async def histogram(ask: "Ask", scores: "Scores", asked: float | None) -> Histogram | None:
    """None where there are no values. Today's threshold, and the one that is asked about, each begin a bar."""
    count, low, middle, high, passes = (await ask(STATS.format(source=scores.source))).rows[0]
    if not count:
        return None
    marks = [mark for mark in (scores.threshold, asked) if mark is not None]
    starts = edges(low, middle, high, marks)
    rows = (await ask(BARS.format(bar=case("value", starts), source=scores.source))).rows
    counts = {bar: (kept, others, could) for bar, kept, others, could in rows}
    found = [counts.get(bar, (0, 0, 0)) for bar in range(len(starts))]
    could = [each[2] for each in found]
    would = [sum(could[bar:]) if scores.upwards else sum(could[:bar]) for bar in range(len(starts))]
    bars = [Bar(start, kept, others, n) for start, (kept, others, _), n in zip(starts, found, would, strict=True)]
    return Histogram(_cut(bars, marks), count, passes)


def _cut(bars: list[Bar], marks: Sequence[float]) -> list[Bar]:
    """Without empty bars at both ends, but for those of a threshold."""
    shown = [n for n, bar in enumerate(bars) if bar.passes or bar.others or bar.start in marks]
    return bars[shown[0] : shown[-1] + 1]


async def parts_of(ask: "Ask", node: "Node") -> Parts | None:
    """None where there are not several."""
    if node.kind not in PARTS:
        return None
    answer = await ask(PARTS[node.kind].format(mine=node.mine))
    return Parts(answer.columns, answer.rows) if len(answer.rows) > 1 else None


async def at(ask: "Ask", scores: "Scores", threshold: float) -> Change:
    """What a threshold would do."""
    over = f"value {'>=' if scores.upwards else '<='} {threshold!r}"
    return Change(*(await ask(AT.format(over=over, source=scores.source))).rows[0])
