"""Pictures just over and just under a threshold."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lodestream.cli.sheet_nodes import Chooser, cell
from lodestream.preview import Found
from lodestream.sheet.cells import Cell, Section, singles
from lodestream.sheet.write import write

if TYPE_CHECKING:
    from lodestream.cli.instance import Ask
    from lodestream.cli.tune_scores import Node, Scores
    from lodestream.objects import Objects

Row = dict[str, Any]
NEAR = "{select} from ({source}) where value {side} {at!r} order by value {order}, media_id, time_ms limit {count}"

SELECT = {"kept": "select * exclude (scores, measures)"}
"""Without what takes long to put together."""


async def draw(
    ask: "Ask", objects: "Objects", node: "Node", scores: "Scores", at: float, path: Path, limit: int
) -> int:
    """Write the sheet: half of it from either side, the nearest first; how many frames. Raises LodeError, Outage."""
    chooser, sections = Chooser(ask, node.flow), []
    room = limit // (4 if node.kind == "unique" else 2) or 1
    for side, order, words in ((">=", "asc", "over"), ("<", "desc", "under")):
        query = NEAR.format(
            select=SELECT.get(node.kind, ""), source=scores.source, side=side, at=at, order=order, count=room
        )
        rows = (await ask(query)).objects()
        groups = await chooser.pairs(rows) if node.kind == "unique" else singles([_cell(node, row) for row in rows])
        if groups:
            sections.append(Section(f"just {words} {at:g}", groups, f"the nearest {len(groups)}"))
    await write(objects, f"{node.flow}, node {node.name}: {scores.what} around {at:g}", sections, path)
    return sum(len(section.cells) for section in sections)


def _cell(node: "Node", row: Row) -> Cell:
    value = f"{row['value']:.4g}"
    if node.kind == "boxes":
        box = Found((row["x1"], row["y1"], row["x2"], row["y2"]), row["label"], row["score"])
        return cell(row, f"{value} {row['label']}", tone="good", boxes=[box])
    if row["kept"]:
        return cell(row, f"{value}, kept", tone="good")
    return cell(row, f"{value}, dropped: {row['detail'] or row['reason']}", tone="bad")
