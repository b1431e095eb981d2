"""What each stage and each prompt brought, and what flows were spared by sharing."""

from services.catalog.relations import View

STAGES = View(
    "main.stages",
    "Every node that gives or takes frames: how many it was given, how many go on, and why the others do not.",
    """
    with each as (
      select flow, node, node_type, shard_key, null as given, frames as out, null as boxes, 0 as place, "at",
        map {}::map(varchar, ubigint) as why from main.shards
      union all select flow, node, node_type, shard_key, frames, kept, null, 1, "at", dropped from main.kept_shards
      union all select flow, node, node_type, shard_key, frames, uniques, null, 1, "at",
        map {'duplicate': duplicates::ubigint, 'broken': broken::ubigint} from main.unique_shards
      union all select flow, node, node_type, shard_key, frames, boxed, boxes, 1, "at",
        map {'no box': (frames - boxed - broken)::ubigint, 'broken': broken::ubigint} from main.boxed_shards),
    reasons as (select flow, node, map_from_entries(list((reason, n) order by n desc, reason)) as dropped_by_reason
      from (select flow, node, why.key as reason, sum(why.value)::bigint as n
        from (select flow, node, unnest(map_entries(why)) as why from each) group by all having n > 0)
      group by flow, node)
    select flow, node, each.node_type, count(*) as shards, sum(given)::bigint as frames_in, sum(out)::bigint as frames,
      round(sum(out) / nullif(sum(given), 0), 4) as share, sum(boxes)::bigint as boxes,
      coalesce(any_value(dropped_by_reason), map {}::map(varchar, bigint)) as dropped_by_reason,
      max(each."at") as last_at
    from each left join reasons using (flow, node) left join main.flow_nodes n using (flow, node)
    group by flow, node, each.node_type order by flow, min(n.place), min(each.place), node
    """,
    {
        "shards": "messages that it gave, a shard each",
        "frames_in": "frames that it was given; null for a node that takes them from videos",
        "frames": "frames that it gave: cut, kept, new to the flow, or with a box",
        "share": "those of the frames that it was given, 0 to 1",
        "boxes": "boxes that it found; null for a node that looks for none",
        "dropped_by_reason": "frames that do not go on by reason, the most frequent first",
        "last_at": "when it last gave something, UTC",
    },
)
PROMPTS = View(
    "main.prompts",
    "Every prompt of every filter: how its scores lie, and how many frames it brought.",
    """
    with asked as (select flow, node, model, unnest(map_entries(scores)) as asked, against from main.kept_shards),
    given as (select flow, node, model, asked.key as prompt, list_contains(against, asked.key) as against,
      unnest(asked.value) as score from asked),
    best as (select flow, node, model, prompt, count(*) as best, count(*) filter (kept) as kept from main.judged
      where prompt is not null group by all)
    select flow, node, prompt, if(against, 'drop', 'keep') as "role", model, count(score) as frames,
      coalesce(any_value(best), 0) as best, coalesce(any_value(kept), 0) as kept, min(score) as lowest,
      median(score) as median, quantile_cont(score, 0.9) as p90, max(score) as highest
    from given left join best using (flow, node, model, prompt) group by flow, node, prompt, against, model
    order by flow, node, "role" desc, kept desc, prompt
    """,
    {
        "prompt": "what was asked of every frame",
        "role": "keep where it speaks for a frame, drop where it speaks against it",
        "frames": "frames that it was asked of",
        "best": "frames to which it gave the highest score of the prompts that speak for a frame",
        "kept": "how many of those are kept",
        "lowest": "its lowest score",
        "median": "its score in the middle",
        "p90": "the score that a tenth of the frames reach",
        "highest": "its highest score",
    },
)

SAVED = View(
    "main.saved",
    "What each flow was spared because somebody had done it: another flow, or this one under other settings.",
    """
    with named as (select flow, object_key as thing, media_id, bytes, 0 as frames, "at", seq from history.media
      union all select flow, shard_key, media_id, 0, frames, "at", seq from history.shards),
    again as (from named qualify row_number() over (partition by thing order by "at", flow, seq) > 1),
    asked as (select flow, model, shard_key, "at", seq, list_filter(range(len(time_ms)),
        lambda place: map_values(scores)[1][place + 1] is not null) as places from history.kept_shards
      union all select flow, model, shard_key, "at", seq, chosen || [r."index" for r in repeats]
        from history.unique_shards),
    shared as (from asked where model <> '' qualify count(*) over (partition by model, shard_key) > 1),
    vectors as (select flow, model, shard_key, "at", seq, unnest(places) as place from shared),
    remembered as (from vectors
      qualify row_number() over (partition by model, shard_key, place order by "at", flow, seq) > 1),
    things as (select flow, count(*) filter (bytes > 0) as downloads, sum(bytes) as bytes,
      count(distinct media_id) filter (frames > 0) as extractions, sum(frames) as frames from again group by flow),
    embeddings as (select flow, count(*) as embeddings from remembered group by flow)
    select flow, coalesce(downloads, 0) as downloads, coalesce(bytes, 0)::bigint as bytes,
      coalesce(extractions, 0) as extractions, coalesce(frames, 0)::bigint as frames,
      coalesce(embeddings, 0) as embeddings
    from (select distinct flow from history.counts) left join things using (flow) left join embeddings using (flow)
    order by flow
    """,
    {
        "downloads": "videos it was given whose file an earlier message had named. Earlier is by the time in the "
        "streams: who came first did the work; what flows that are removed did counts while their streams are there",
        "bytes": "bytes of those files",
        "extractions": "videos of which it was given shards that an earlier message had named",
        "frames": "frames in those shards",
        "embeddings": "frames it asked a model about of which that model's vector had been asked for before: by "
        "another flow, by another node, or by the same one under other prompts or thresholds",
    },
)
