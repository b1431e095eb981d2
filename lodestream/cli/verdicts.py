"""What the nodes of every flow said of one frame: kept or dropped and why, new or a repeat, what is in it."""

from typing import TYPE_CHECKING, Any

from lodestream.cli.lineage import Row, quoted
from proto import ids, subjects

if TYPE_CHECKING:
    from lodestream.cli.instance import Ask

SAID = "flow, node, node_type, port, shard_id, recipe, seq"
JUDGED = f"select {SAID}, kept, reason, detail, score, prompt from judged where {{where}}"
UNIQUES = f"select {SAID} from uniques where {{where}}"
DUPLICATES = f"select {SAID}, repeats, similarity, method from duplicates where {{where}}"
LOOKS = f"""select {SAID}, model, shard_key, byte_offset[frame] as byte_offset, byte_length[frame] as byte_length,
    labels[looked] as labels, scores[looked] as scores, corners[looked] as corners
  from (select *, list_position(chosen, (frame - 1)::usmallint) as looked
    from (select *, list_position(time_ms, {{time}}::uinteger) as frame from boxed_shards where media_id = {{media}}))
  where looked is not null order by flow, node"""
"""Who looked for boxes in a frame, and what was found; its place among the shard's frames is counted from 1."""


async def verdicts(ask: "Ask", media: str, time: int) -> list[Row]:
    """A row for each node that said something, in the order in which they did."""
    where = f"media_id = {quoted(media)} and time_ms = {time}"
    found = []
    for query in (JUDGED, UNIQUES, DUPLICATES):
        found += (await ask(query.format(where=where))).objects()
    found += await looks(ask, media, time)
    rows = [_row(fields, ids.frame_id(media, time)) for fields in found]
    return sorted(rows, key=lambda row: (row.flow, row.seq))


async def looks(ask: "Ask", media: str, time: int) -> list[dict[str, Any]]:
    """What each node found that looked for boxes in the frame, and where the frame lies."""
    return (await ask(LOOKS.format(time=time, media=quoted(media)))).objects()


def _row(fields: dict[str, Any], frame: str) -> Row:
    flow, node, kind, port, shard, recipe, seq = (fields.pop(name) for name in SAID.split(", "))
    subject = subjects.output(flow, kind, node, port, ids.entity(shard, recipe))
    return Row(_kind(fields), flow, node, frame, subject, "", seq, fields)


def _kind(fields: dict[str, Any]) -> str:
    if "kept" in fields:
        return "kept" if fields["kept"] else "dropped"
    if "labels" in fields:
        return "looked at"
    return "repeat" if "repeats" in fields else "new"


def seen(kind: str, f: dict[str, Any]) -> list[str]:
    """Lines of what was said of a frame, or of the frames of a shard."""
    from lodestream.cli.wording import plural

    match kind:
        case "kept" if "prompt" not in f:  # of a shard
            why = ", ".join(f"{count} {reason}" for reason, count in f["dropped"].items())
            return [f"{f['kept']} of {plural(f['frames'], 'frame')}", why and f"dropped: {why}"]
        case "unique":
            return [f"{f['uniques']} of {plural(f['frames'], 'frame')} new, {f['duplicates']} known"]
        case "boxes":
            count = plural(f["boxes"], "box", "boxes")
            return [f"{count} in {f['boxed']} of {plural(f['frames'], 'frame')}, by {f['model']}"]
        case "kept" | "dropped":
            return [f["detail"] or f["reason"], "" if f["score"] is None else f"{f['prompt']}: {f['score']:.2f}"]
        case "repeat":
            return [f"of {f['repeats'] or 'a frame that was forgotten'}, {f['similarity']:.3f} by {f['method']}"]
        case "looked at":
            found = zip(f["labels"], f["scores"], strict=True)
            return [", ".join(f"{label} {score:.2f}" for label, score in found) or "no box", f"by {f['model']}"]
    return []
