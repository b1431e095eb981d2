"""Where an entity came from and what came of it, from the catalog: every row knows the subject of its cause."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from proto import ids, subjects

if TYPE_CHECKING:
    from lodestream.cli.instance import Ask

KINDS = {
    "seed": ("seeds", "seed_id", "kind, value"),
    "candidate": ("candidates", "media_id", "title, url"),
    "listing": ("listings", "seed_id", "offered, complete, detail"),
    "record": ("records", "record_id", "source, position, data::varchar as data, object_key"),
    "media": ("media", "media_id", "url, bytes, codec, width, height, duration_s, damage, object_key"),
    "shard": ("shards", "shard_id", "frames, width, height, shard_key, time_ms[1] as first_ms, time_ms[-1] as last_ms"),
    "kept": ("kept_shards", "shard_id", "frames, kept, dropped"),
    "unique": ("unique_shards", "shard_id", "frames, uniques, duplicates"),
    "boxes": ("boxed_shards", "shard_id", "frames, boxed, boxes, model"),
    "rejected": ("rejects", "entity", "reason, detail"),
}
"""By kind of message: its table, the column of its id, and what is shown of it."""
IDENTITY = ("flow", "node_type", "node", "port", "id", "recipe", "cause", "seq")
DEAD = "select flow, node, entity, subject, input_subject, seq, reason, detail from dead"
MOST = 2000
"""Rows that are asked for at once."""


@dataclass
class Row:
    """One message that the catalog knows, and those made from it."""

    kind: str
    flow: str
    node: str
    id: str
    subject: str
    cause: str
    seq: int
    fields: dict[str, Any]
    children: "list[Row]" = field(default_factory=list)

    def holds(self, subject: str) -> bool:
        """Whether this is the subject of the row, or of one below it."""
        return self.subject == subject or any(child.holds(subject) for child in self.children)


class Lineage:
    """Walks over what the catalog knows."""

    def __init__(self, ask: "Ask"):
        self._ask = ask

    async def trees(self, ident: str) -> list[Row]:
        """All that there is about an id, each from its first cause down to all that came of it."""
        found: list[Row] = []
        for row in sorted(await self._where(f"= {quoted(ident)}"), key=lambda row: (row.flow, row.seq)):
            if not any(top.holds(row.subject) for top in found):
                await self._add_effects([row])
                found.append(await self._with_causes(row))
        return found

    async def frame(self, ident: str) -> Row | None:
        """A frame below its shard, from its first cause down; None where there is none of this id."""
        media, _, time = ident.rpartition("_")
        if not media or not time.isdecimal():
            return None
        shown = "flow, node, shard_id, shard_key, byte_offset, byte_length, width, height, time_ms"
        where = f"media_id = {quoted(media)} and time_ms = {int(time)}"
        if not (frames := (await self._ask(f"select {shown} from frames where {where} limit 1")).objects()):
            return None
        fields = frames[0]
        flow, node, shard_id = (fields.pop(name) for name in ("flow", "node", "shard_id"))
        shards = await self._where(f"= {quoted(shard_id)}", ["shard"])
        shard = next(row for row in shards if (row.flow, row.node) == (flow, node))
        shard.children = [Row("frame", flow, node, ident, "", shard.subject, shard.seq, fields)]
        return await self._with_causes(shard)

    async def beginning(self, ident: str) -> list[str]:
        """Ids of seeds and videos that begin with this."""
        found = await self._where(f"like {quoted(_escaped(ident) + '%')} escape '!'", ["seed", "candidate"])
        return sorted({row.id for row in found})

    async def _with_causes(self, row: Row) -> Row:
        """The top of the walk from cause to cause, each holding the one below it."""
        while row.cause and not subjects.is_seed(row.cause):
            entity = subjects.parse(row.cause).entity
            names = _listed({entity, entity.rpartition("_")[0]} - {""})
            above = next((r for r in await self._where(f"in ({names})") if r.subject == row.cause), None)
            if above is None:
                return row
            above.children, row = [row], above
        return row

    async def _add_effects(self, level: Sequence[Row]) -> None:
        """Hang below each row all that was made from it, level by level."""
        while level:
            by_cause = defaultdict(list)
            for made in await self._made_from([row.subject for row in level]):
                by_cause[made.cause].append(made)
            for row in level:
                row.children = by_cause[row.subject]
            level = [child for row in level for child in row.children]

    async def _made_from(self, causes: Iterable[str]) -> list[Row]:
        listed = _listed(causes)
        letters = (await self._ask(f"{DEAD} where input_subject in ({listed}) limit {MOST}")).objects()
        return await self._where(f"in ({listed})", by_cause=True) + [_dead(fields) for fields in letters]

    async def _where(self, fits: str, kinds: Collection[str] = tuple(KINDS), *, by_cause: bool = False) -> list[Row]:
        """The rows of these kinds whose id, or cause, fits."""
        found = []
        for kind in kinds:
            table, column, shown = KINDS[kind]
            query = f"select flow, node_type, node, port, {column} as id, recipe, cause, seq, {shown} from {table}"
            column = "cause" if by_cause else column
            answer = await self._ask(f"{query} where {column} {fits} order by seq limit {MOST}")
            found += [_row(kind, fields) for fields in answer.objects()]
        return found


def _row(kind: str, fields: dict[str, Any]) -> Row:
    flow, node_type, node, port, ident, recipe, cause, seq = (fields.pop(name) for name in IDENTITY)
    subject = subjects.output(flow, node_type, node, port, ids.entity(ident, recipe))
    return Row(kind, flow, node, ident, subject, cause, seq, fields)


def _dead(fields: dict[str, Any]) -> Row:
    flow, node, entity, subject, cause, seq = (
        fields.pop(name) for name in ("flow", "node", "entity", "subject", "input_subject", "seq")
    )
    return Row("dead letter", flow, node, entity, subject, cause, seq, fields)


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(map(quoted, texts)) or "''"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _escaped(text: str) -> str:
    """Without the wildcards of LIKE."""
    return "".join(f"!{letter}" if letter in "!%_" else letter for letter in text)
