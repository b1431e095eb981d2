"""The tables of what filter, dedup and detect say of frames: a row a shard, its frames as parallel lists."""

from proto.messages import Boxes, Kept, Unique
from services.catalog.relations import Column, number, outputs, own_id, text

_SHARD = (
    own_id("shard_id", "id of the shard"),
    text("media_id", "id of the video"),
    text("source", "site that the video comes from"),
    text("shard_key", "key of the tar in the object store", "m.shard.object_key"),
    text("shard_recipe", "digest of all that made the shard", "m.shard.recipe"),
    number("width", "pixels of every frame", "m.shard.width"),
    number("height", "pixels of every frame", "m.shard.height"),
)
_FRAMES = (
    Column("time_ms", "UINTEGER[]", "presentation time of each frame of the shard, milliseconds", "m.shard.time_ms"),
    Column("byte_offset", "BIGINT[]", "byte of the tar at which each JPEG begins", 'm.shard."offset"'),
    Column("byte_length", "UINTEGER[]", "bytes of each JPEG", 'm.shard."length"'),
)
_MODEL = text("model", "model that was asked; empty where none was")
_WHY = "[r for r in m.reason if r <> '']"

KEPT = outputs(
    "kept_shards",
    Kept,
    "What a filter says of the frames of a shard; frame by frame: `kept`, `dropped`, and both in `judged`.",
    *_SHARD,
    number("frames", "frames that it was given", f"len(m.kept) + len({_WHY})"),
    number("kept", "how many of them it keeps", "len(m.kept)"),
    Column("dropped", "MAP(VARCHAR, UBIGINT)", "how many it drops, by reason", f"list_histogram({_WHY})"),
    _MODEL,
    *_FRAMES,
    Column("chosen", "USMALLINT[]", "places in the shard, from 0, of the frames that are kept", "m.kept"),
    Column("reason", "VARCHAR[]", "why each frame is dropped; empty where it is kept or was not given"),
    Column("detail", "VARCHAR[]", "the same in full, with its numbers"),
    Column("measures", "MAP(VARCHAR, DOUBLE[])", "of each frame, by name: sharpness, brightness ..."),
    Column("scores", "MAP(VARCHAR, DOUBLE[])", "of each frame, by prompt: probability, 0 to 1"),
    Column("score", "DOUBLE[]", "the highest score of each frame by a prompt that speaks for it", "score"),
    Column("best", "UTINYINT[]", "place among the prompts, from 1, of the one that gave it", "best"),
    Column("against", "VARCHAR[]", "those of the prompts that speak against a frame", 'm."drop"'),
    counted="kept",
)

UNIQUE = outputs(
    "unique_shards",
    Unique,
    "What a dedup says of the frames of a shard; frame by frame: `uniques`, `duplicates`.",
    *_SHARD,
    number("frames", "frames that it was given", 'len(m."unique") + len(m.repeats) + len(m.broken)'),
    number("uniques", "how many of them are new to the flow", 'len(m."unique")'),
    number("duplicates", "how many repeat a frame that was kept before", "len(m.repeats)"),
    number("broken", "how many could not be judged", "len(m.broken)"),
    _MODEL,
    *_FRAMES,
    Column("chosen", "USMALLINT[]", "places in the shard, from 0, of the frames that are new", 'm."unique"'),
    Column(
        "repeats",
        'STRUCT("index" USMALLINT, frame VARCHAR, similarity DOUBLE, "by" VARCHAR)[]',
        "each duplicate: its place in the shard, the frame that it repeats, how similar, by which comparison",
    ),
    counted="uniques",
)

BOXES = outputs(
    "boxed_shards",
    Boxes,
    "What a detector found in the frames of a shard; box by box: `boxes`.",
    *_SHARD,
    number("frames", "frames that it was given", "len(m.frames) + len(m.broken)"),
    number("boxed", "how many of them have a box", "len([l for l in m.labels if len(l) > 0])"),
    number("boxes", "how many boxes they have", "len(flatten(m.labels))"),
    number("broken", "how many could not be read", "len(m.broken)"),
    _MODEL,
    text("model_version", "revision or digest of the model", "m.version"),
    *_FRAMES,
    Column("chosen", "USMALLINT[]", "places in the shard, from 0, of the frames that were looked at", "m.frames"),
    Column("labels", "VARCHAR[][]", "for each of those, the labels of its boxes, best first"),
    Column("scores", "DOUBLE[][]", "as `labels`: how sure the model is, 0 to 1"),
    Column("corners", "DOUBLE[][][]", "as `labels`: x1, y1, x2, y2 in pixels of the frame", "m.boxes"),
    counted="boxed",
)

SEEING = (KEPT, UNIQUE, BOXES)
