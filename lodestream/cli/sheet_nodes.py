"""Which frames a contact sheet shows of a node: a few of each kind, spread over its scores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lodestream.cli.lineage import quoted
from lodestream.errors import LodeError
from lodestream.sheet.cells import Cell, Section, clock, singles

if TYPE_CHECKING:
    from lodestream.cli.instance import Ask
    from lodestream.preview import Found

Row = dict[str, Any]
NODES = """
select node, kind, any_value(place) as place from history.counts anti join history.superseded using (flow, node, recipe)
left join main.flow_nodes using (flow, node)
where flow = {flow} and kind in ('shard', 'kept', 'unique', 'boxes') group by all order by place, node
"""
LOCATION = "media_id, time_ms, shard_key, byte_offset, byte_length"
LOOKED = """
select flow, node, media_id, time_ms[place + 1] as time_ms, shard_key, byte_offset[place + 1] as byte_offset,
  byte_length[place + 1] as byte_length, labels, scores, corners
from (select * replace (unnest(labels) as labels, unnest(scores) as scores, unnest(corners) as corners),
  unnest(chosen) as place from boxed_shards)
"""
"""Every frame that was looked at, also those without a box."""
JUDGED = "select * exclude (scores, measures) from judged"
"""Without what takes long to put together."""
SPREAD = """
with found as (select *, {value} as value from ({source}) where flow = {flow} and node = {node} and {where}),
ranked as (select *, ntile({count}) over (order by value {order} nulls last, media_id, time_ms) as tile from found)
from ranked qualify row_number() over (partition by tile order by value {order} nulls last, media_id, time_ms) = 1
order by tile
"""
"""So many frames, evenly over the order of their value; the first among them."""
WINDOW = """
select {columns} from frames where flow = {flow} and (media_id, time_ms) in ({frames})
qualify row_number() over (partition by media_id, time_ms order by seq desc) = 1
"""
NUMBERS = ("sharpness", "brightness", "contrast", "entropy", "black_bars", "solid")


class Choice(NamedTuple):
    """Frames of one node, and what orders them."""

    source: str
    """A table, or a query."""
    where: str = "true"
    value: str = "null"
    order: str = "desc"


class Chooser:
    """Asks the catalog for frames of one flow."""

    def __init__(self, ask: "Ask", flow: str):
        self.ask, self.flow = ask, flow

    async def nodes(self) -> dict[str, str]:
        """The nodes that gave or saw frames, in order, with the kind of what they give. Raises LodeError."""
        found = {node: kind for node, kind, _ in (await self.ask(NODES.format(flow=quoted(self.flow)))).rows}
        if not found:
            raise LodeError(
                f"the catalog knows no frames of a flow {self.flow!r}; flows are in: lode sql 'from stages'"
            )
        return found

    async def sections(self, node: str, kind: str, limit: int) -> list[Section]:
        """What a sheet shows of a node: some `limit` frames."""
        made = {"shard": self._cut, "kept": self._judged, "unique": self._compared, "boxes": self._looked}
        return [section for section in await made[kind](node, limit) if section.groups]

    async def pick(self, node: str, choice: Choice, count: int) -> list[Row]:
        """So many of these frames, evenly over the order of their value."""
        query = SPREAD.format(
            source=choice.source if " " in choice.source.strip() else f"from {choice.source}",
            value=choice.value,
            order=choice.order,
            where=choice.where,
            flow=quoted(self.flow),
            node=quoted(node),
            count=max(count, 1),
        )
        return (await self.ask(query)).objects()

    async def located(self, frames: Sequence[str]) -> dict[str, Row]:
        """Where frames lie, by id; without those that the catalog does not know."""
        parts = [frame.rpartition("_") for frame in dict.fromkeys(frames)]
        keys = ", ".join(f"({quoted(media)}, {int(time)})" for media, _, time in parts if time.isdecimal() and media)
        if not keys:
            return {}
        query = WINDOW.format(columns=f"frame_id, {LOCATION}", flow=quoted(self.flow), frames=keys)
        return {row["frame_id"]: row for row in (await self.ask(query)).objects()}

    async def _cut(self, node: str, limit: int) -> list[Section]:
        rows = await self.pick(node, Choice("frames"), limit)
        return [Section(node, singles([cell(row) for row in rows]), await self._of(node, "frames", len(rows)))]

    async def _judged(self, node: str, limit: int) -> list[Section]:
        """Kept frames, and dropped ones by reason: half of the room for each."""
        query = (
            f"select kept, reason, count(*) from judged where {self._mine(node)} group by all order by 1 desc, 3 desc"
        )
        counts = (await self.ask(query)).rows
        shares = sum(not kept for kept, *_ in counts) or 1
        made = []
        for kept, reason, count in counts:
            room = limit if len(counts) == 1 else -(-limit // 2) if kept else max(limit // 2 // shares, 1)
            choice = Choice(JUDGED, "kept" if kept else f"reason = {quoted(reason)}", _value(reason))
            rows = await self.pick(node, choice, room)
            cells = [_judged(row) for row in rows]
            title = f"{node}: kept" if kept else f"{node}: {reason}"
            made.append(Section(title, singles(cells), _count(len(rows), count)))
        return made

    async def _compared(self, node: str, limit: int) -> list[Section]:
        """Duplicates beside what they repeat, the least similar first; then what is new."""
        pairs = await self.pick(node, Choice("duplicates", value="similarity", order="asc"), max(limit // 3, 1))
        groups = await self.pairs(pairs)
        new = await self.pick(node, Choice("uniques"), max(limit - 2 * len(groups), 1))
        return [
            Section(f"{node}: duplicates", groups, await self._of(node, "duplicates", len(groups))),
            Section(f"{node}: new", singles([cell(row) for row in new]), await self._of(node, "uniques", len(new))),
        ]

    async def pairs(self, rows: Sequence[Row]) -> list[list[Cell]]:
        """Each duplicate behind the frame that it repeats, where that is known."""
        first = await self.located([row["repeats"] for row in rows])
        groups = []
        for row in rows:
            words = f"{row['similarity']:.3f} like the one beside it" + (
                f", {row['method']}" if "method" in row else ""
            )
            repeat = cell(row, words, tone="bad")
            there = first.get(row["repeats"])
            groups.append([cell(there, "kept before", tone="good"), repeat] if there else [repeat])
        return groups

    async def _looked(self, node: str, limit: int) -> list[Section]:
        boxed = await self.pick(node, Choice(LOOKED, "len(labels) > 0", "list_max(scores)"), -(-limit * 2 // 3))
        empty = await self.pick(node, Choice(LOOKED, "len(labels) = 0"), max(limit - len(boxed), 1))
        query = f"select sum(boxed)::int, sum(frames - boxed - broken)::int from boxed_shards where {self._mine(node)}"
        [(with_box, without)] = (await self.ask(query)).rows
        return [
            Section(f"{node}: boxes", singles([looked(row) for row in boxed]), _count(len(boxed), with_box)),
            Section(f"{node}: no box", singles([cell(row) for row in empty]), _count(len(empty), without)),
        ]

    def _mine(self, node: str) -> str:
        return f"flow = {quoted(self.flow)} and node = {quoted(node)}"

    async def _of(self, node: str, table: str, shown: int) -> str:
        [(count,)] = (await self.ask(f"select count(*) from {table} where {self._mine(node)}")).rows
        return _count(shown, count)


def cell(row: Row, *words: str, tone: str = "", boxes: "Sequence[Found]" = ()) -> Cell:
    """A frame that the catalog has told of, with its video, its time and some words."""
    said = (str(row["media_id"]), clock(int(row["time_ms"])), *filter(None, words))
    return Cell(row["shard_key"], row["byte_offset"], row["byte_length"], said, tone, tuple(boxes))


def looked(row: Row) -> Cell:
    """A frame with its boxes drawn, and counted by label."""
    boxes = found(row)
    labels = list(dict.fromkeys(box.label for box in boxes))
    said = ", ".join(f"{sum(box.label == label for box in boxes)} {label}" for label in labels)
    return cell(row, said, tone="good", boxes=boxes)


def found(row: Row) -> "list[Found]":
    """The boxes of a frame that was looked at."""
    from lodestream.preview import Found

    lists = (row["corners"], row["labels"], row["scores"])
    return [Found(tuple(corners), label, score) for corners, label, score in zip(*lists, strict=True)]


def _judged(row: Row) -> Cell:
    score = "" if row["score"] is None else f"{row['score']:.3g} {row['prompt']}"
    if row["kept"]:
        return cell(row, score, tone="good")
    detail = str(row["detail"]).removeprefix(row["reason"]).lstrip(": ")  # the reason stands above
    return cell(row, detail or score or row["reason"], tone="bad")


def _value(reason: str) -> str:
    """What orders frames that are dropped for a reason: the measure that it speaks of, else the score."""
    return next((name for name in NUMBERS if reason.startswith(name.replace("_", " "))), "score")


def _count(shown: int, count: int) -> str:
    return f"{count:,}" if shown >= count else f"{shown:,} of {count:,}"
