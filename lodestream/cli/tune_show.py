"""How the numbers of a node look on a terminal, and in a pipe."""

from typing import TYPE_CHECKING

from lodestream.cli.output import Cell, Mark, table
from lodestream.cli.tune_counts import Bar, Change, Histogram, Parts

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lodestream.cli.tune_scores import Node, Scores

WIDTH = 36
"""Letters of the longest bar."""
PASSES, OTHERS = "█", "░"


def show(
    node: "Node", scores: "Scores", found: Histogram, parts: Parts | None, asked: float | None, change: Change | None
) -> "list[RenderableType]":
    """A head, a line for each bar, what the thresholds do, and a line for each prompt or label."""
    by = f"{node.flow} {node.name}, {found.total:,} {scores.things}: {scores.what}"
    two = node.kind == "kept"
    heads = ["from", scores.passed, *(["dropped"] if two else []), "", scores.would]
    most = max(bar.passes + bar.others for bar in found.bars) or 1
    rows = [_row(bar, most, two, _note(bar.start, scores, asked)) for bar in found.bars]
    right = {0, 1, *({2} if two else ())}
    said = [f"today: {_today(scores)}; {found.passes:,} {scores.passed}"]
    if asked is not None and change is not None:
        said.append(f"{asked:g}: {change.would:,} {scores.would}, {change.fewer:,} fewer and {change.more:,} more")
    if scores.caveat:
        said.append(f"({scores.caveat})")
    shown: list[RenderableType] = ["", table(parts.heads, parts.rows)] if parts else []
    return [by, "", table(heads, rows, right=right), "", *said, *shown]


def _row(bar: Bar, most: int, two: bool, note: str) -> list[Cell]:
    drawn = _bar(bar.passes, most, PASSES) + _bar(bar.others, most, OTHERS)
    last = Mark(f"{bar.would:,}  {note}", "bold") if note else f"{bar.would:,}"
    return [f"{bar.start:g}", bar.passes, *([bar.others] if two else []), f"{drawn:<{WIDTH}}", last]


def _bar(count: int, most: int, letter: str) -> str:
    return letter * max(round(count / most * WIDTH), 1 if count else 0)


def _note(start: float, scores: "Scores", asked: float | None) -> str:
    said = [*(["today"] if start == scores.threshold else []), *(["asked"] if start == asked else [])]
    return f"<- {', '.join(said)}" if said else ""


def _today(scores: "Scores") -> str:
    if scores.threshold is None:
        return f"no {scores.setting}" if scores.setting else "no threshold"
    return f"{scores.setting} {scores.threshold:g}"
