"""The frames of a contact sheet that a query chooses."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from lodestream.cli.lineage import quoted
from lodestream.cli.sheet_nodes import LOOKED, Chooser, cell, found
from lodestream.errors import LodeError
from lodestream.sheet.cells import Section, singles

if TYPE_CHECKING:
    from lodestream.preview import Found

Row = dict[str, Any]
FRAME = ("frame", "frame_id")
CORNERS = ("x1", "y1", "x2", "y2")
PLACE = {*FRAME, *CORNERS, "flow", "node", "media_id", "time_ms", "shard_key", "byte_offset", "byte_length", "width",
         "height", "shard_id", "node_type", "port", "recipe", "seq", "at"}  # fmt: skip
"""Columns that do not stand under a picture: they say which it is, or where it lies."""
WORDS = 5
"""Columns that stand under a picture, at most."""
ROWS = 20
"""Rows that are asked for, for each picture: a frame has a row for each of its boxes."""


async def section(chooser: Chooser, query: str, node: str | None, limit: int) -> Section:
    """The frames that a query names, in its order, with what else it says of each; pairs where it gives `repeats`.

    Boxes are those that it gives, else those that `node` found. Raises LodeError.
    """
    answer = await chooser.ask(query, limit * ROWS)
    name = next((name for name in FRAME if name in answer.columns), None)
    if name is None:
        raise LodeError(f"the query gives no column `frame`, only {', '.join(answer.columns)}: "
                        "as in: select frame_id as frame, score from kept")  # fmt: skip
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in answer.objects():
        rows[str(row[name])].append(row)
    shown = dict(list(rows.items())[:limit])
    places = await chooser.located(list(shown))
    if shown and not places:
        raise LodeError(f"flow {chooser.flow} has none of the frames that the query gives, such as {next(iter(shown))}")
    note = f"{len(shown)} of {len(rows)} or more" if answer.truncated or len(rows) > limit else f"{len(shown):,}"
    if {"repeats", "similarity"} <= set(answer.columns):
        pairs = [places[frame] | row for frame, some in shown.items() if frame in places for row in some]
        return Section("", await chooser.pairs(pairs), note)
    boxes = await _boxes(chooser, node, places) if node else {}
    cells = [
        cell(places[frame], *_words(some[0]), boxes=_given(some) or boxes.get(frame, ()))
        for frame, some in shown.items()
        if frame in places
    ]
    return Section("", singles(cells), note)


def _words(row: Row) -> list[str]:
    said = [(name, value) for name, value in row.items() if name not in PLACE and value not in (None, "")]
    return [f"{name} {f'{value:.4g}' if isinstance(value, float) else value}" for name, value in said[:WORDS]]


def _given(rows: list[Row]) -> "list[Found]":
    """Boxes that the query itself gives, a row each."""
    from lodestream.preview import Found

    if not set(CORNERS) <= set(rows[0]):
        return []
    return [
        Found((row["x1"], row["y1"], row["x2"], row["y2"]), str(row.get("label", "")), row.get("score") or 0.0)
        for row in rows
        if row["x1"] is not None
    ]


async def _boxes(chooser: Chooser, node: str, places: dict[str, Row]) -> "dict[str, list[Found]]":
    """What the node found in these frames; nothing where it looks for no boxes."""
    keys = ", ".join(f"({quoted(row['media_id'])}, {row['time_ms']})" for row in places.values()) or "('', 0)"
    mine = f"flow = {quoted(chooser.flow)} and node = {quoted(node)} and (media_id, time_ms) in ({keys})"
    rows = (await chooser.ask(f"select * from ({LOOKED}) where {mine}")).objects()
    return {f"{row['media_id']}_{row['time_ms']}": found(row) for row in rows}
