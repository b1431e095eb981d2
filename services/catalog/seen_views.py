"""What filter, dedup and detect say, frame by frame and box by box."""

from services.catalog.relations import View

_LISTS = "* replace (unnest(time_ms) as time_ms, unnest(byte_offset) as byte_offset, unnest(byte_length) as byte_length"
_PLACE = "unnest(range(len(time_ms))) as place"
_WHO = "flow, node, media_id || '_' || time_ms as frame_id, media_id, time_ms::bigint as time_ms"
_WHERE = """shard_key, byte_offset, byte_length::bigint as byte_length, width, height, shard_id, source,
      node_type, port, recipe, seq, "at\""""
_COLUMNS = {
    "frame_id": "id of the frame: its video and its time",
    "time_ms": "presentation time, milliseconds",
    "byte_offset": "byte of the tar at which the JPEG begins",
    "byte_length": "bytes of the JPEG",
    "width": "pixels",
    "height": "pixels",
}
MEASURES = {
    "sharpness": "how sharp the frame is: variance of the Laplacian of its luma; null where that was not measured",
    "brightness": "mean luma, 0 to 255",
    "contrast": "standard deviation of its luma, 0 to 127.5",
    "entropy": "bits of the histogram of its luma, 0 to 8",
    "black_bars": "share of the frame in black bars at its edges, 0 to 1",
    "solid": "share of the frame within 16 grey levels: 1 for one colour",
}
"""Measures that are columns; every one is in `measures`."""
_JUDGED = _COLUMNS | {
    "score": "the highest of its scores by prompts that speak for a frame; null where none was asked",
    "prompt": "prompt that gave it",
    "scores": "score by prompt, 0 to 1: scores['a red ball']",
    "measures": "every measure by name: measures['sharpness']",
    **MEASURES,
}
_MEASURED = ", ".join(f"unnest(measures['{name}']) as {name}" for name in MEASURES)
_FOR_FRAME = "map(map_keys({0}), [of_prompt[place + 1] for of_prompt in map_values({0})])"

JUDGED = View(
    "main.judged",
    "Every frame that a filter was given: whether it keeps it, why not, and its scores.",
    f"""
    select {_WHO}, kept, reason, coalesce(detail, '') as detail, score, map_keys(scores)[best] as prompt,
      {_FOR_FRAME.format("scores")} as scores,
      {", ".join(MEASURES)}, {_FOR_FRAME.format("measures")} as measures, model, {_WHERE}
    from (select * replace (list_contains(chosen, place::usmallint) as kept)
      from (select {_LISTS}, unnest(reason) as reason, unnest(detail) as detail, unnest(score) as score,
          unnest(best) as best), {_PLACE}, {_MEASURED}
        from main.kept_shards))
    where kept or reason <> ''
    """,
    _JUDGED
    | {
        "kept": "whether it is kept",
        "reason": "why it is dropped, in words that can be counted; empty where it is kept",
        "detail": "why it is dropped, in full",
    },
)
KEPT = View(
    "main.kept",
    "Every frame that a filter keeps, and its scores.",
    "select * exclude (kept, reason, detail) from main.judged where kept",
    _JUDGED,
)
DROPPED = View(
    "main.dropped",
    "Every frame that a filter drops, with the reason and its scores.",
    "select * exclude (kept) from main.judged where not kept",
    _JUDGED | {"reason": "why it is dropped, in words that can be counted", "detail": "why it is dropped, in full"},
)
UNIQUES = View(
    "main.uniques",
    "Every frame that is new to its flow.",
    f"""
    select {_WHO}, model, {_WHERE} from (select {_LISTS}), {_PLACE} from main.unique_shards)
    where list_contains(chosen, place::usmallint)
    """,
    _COLUMNS,
)
DUPLICATES = View(
    "main.duplicates",
    "Every frame that repeats one that was kept before it, in the same video or another.",
    f"""
    select {_WHO}, repeats, similarity, method, model, {_WHERE}
    from (select * exclude (repeat, repeats) replace (time_ms[repeat."index" + 1] as time_ms,
      byte_offset[repeat."index" + 1] as byte_offset, byte_length[repeat."index" + 1] as byte_length),
      repeat.frame as repeats, repeat.similarity, repeat."by" as method from (select *, unnest(repeats) as repeat
      from main.unique_shards))
    """,
    _COLUMNS
    | {
        "repeats": "id of the frame that it repeats; empty where that was forgotten",
        "similarity": "how similar they are: cosine, or 1 - differing bits / 64",
        "method": "how they were compared: vectors or phash",
    },
)
BOXES = View(
    "main.boxes",
    "Every box that a detector found.",
    f"""
    select {_WHO}, label, score, corners[1] as x1, corners[2] as y1, corners[3] as x2, corners[4] as y2, model,
      model_version, number, {_WHERE}
    from (select * exclude (labels, scores) replace (unnest(corners) as corners), unnest(labels) as label,
        unnest(scores) as score, unnest(range(1, len(labels) + 1)) as number
      from (select * replace (time_ms[place + 1] as time_ms, byte_offset[place + 1] as byte_offset,
          byte_length[place + 1] as byte_length)
        from (select * replace (unnest(labels) as labels, unnest(scores) as scores, unnest(corners) as corners),
          unnest(chosen) as place from main.boxed_shards)))
    """,
    _COLUMNS
    | {
        "label": "what it is",
        "score": "how sure the model is, 0 to 1",
        "x1": "left edge, pixels of the frame",
        "y1": "upper edge, pixels of the frame",
        "x2": "right edge, pixels of the frame",
        "y2": "lower edge, pixels of the frame",
        "number": "place among the boxes of its frame, from 1, best first",
    },
)

SEEN = (JUDGED, KEPT, DROPPED, UNIQUES, DUPLICATES, BOXES)
