"""What people query: the current rows of every table, frames one by one, and the counts that say how it goes."""

from services.catalog.relations import View
from services.catalog.seen_views import SEEN
from services.catalog.stage_views import PROMPTS, SAVED, STAGES
from services.catalog.tables import TABLES

SEEN_FRAMES = {
    "kept": "how many of those frames are kept: by the last filter, where several follow each other",
    "uniques": "how many are new to the flow",
    "boxed": "how many have a box",
}

SUPERSEDED = View(
    "history.superseded",
    "Recipes that a node's outputs carried before its settings, or those of a node above it, were changed.",
    """
    select distinct flow, node, recipe from history.counts c join main.flow_nodes n using (flow, node)
    where c.recipe <> '' and not list_contains(n.recipes, c.recipe)
    """,
    {},
)


SEEING = View(
    "history.seeing",
    "Nodes that look at frames, by the kind of message that they give.",
    """
    with gave as (select distinct flow, node, kind from history.counts where kind in ('kept', 'unique', 'boxes')),
    fed as (select distinct w.flow, w.upstream as node, g.kind, true as fed
      from main.flow_wires w join gave g on g.flow = w.flow and g.node = w.node)
    select flow, node, kind, fed is null as last from gave left join fed using (flow, node, kind)
    """,
    {"last": "whether no other node that gives this kind follows"},
)


def _current(name: str, says: str) -> View:
    """The rows of a table but for those that have been made again under newer settings."""
    return View(
        f"main.{name}",
        says,
        f"select * from history.{name} anti join history.superseded using (flow, node, recipe)",
        {},
    )


FRAMES = View(
    "main.frames",
    "Every frame: where its JPEG lies, and when it is shown.",
    """
    select flow, node, media_id || '_' || time_ms as frame_id, media_id, time_ms::bigint as time_ms, shard_key,
      byte_offset, byte_length::bigint as byte_length, width, height, shard_id, source, sampler, damaged, node_type,
      port, recipe, seq, "at"
    from (select * replace (unnest(time_ms) as time_ms, unnest(byte_offset) as byte_offset,
      unnest(byte_length) as byte_length) from main.shards)
    """,
    {
        "frame_id": "id of the frame: its video and its time",
        "time_ms": "presentation time, milliseconds",
        "byte_offset": "byte of the tar at which the JPEG begins",
        "byte_length": "bytes of the JPEG",
        "width": "pixels",
        "height": "pixels",
        "damaged": "whether part of the video was lost",
    },
)

PROGRESS = View(
    "main.progress",
    "Every node of every flow: what it was given, what it gave, what it refused, what it could not do.",
    """
    with current as (from history.counts anti join history.superseded using (flow, node, recipe)),
    fed as (select w.flow, w.node, sum(c.messages) as inputs
      from main.flow_wires w join history.counts c on c.flow = w.flow and c.node = w.upstream and c.port = w.port
      where list_contains(w.recipes, c.recipe) group by all),
    by_port as (select flow, node, any_value(node_type) as node_type, port, sum(messages) as messages, max("at") as "at"
      from current group by flow, node, port),
    gave as (select flow, node, any_value(node_type) as node_type, max("at") as "at",
      sum(messages) filter (port <> 'rejected') as out, sum(messages) filter (port = 'rejected') as rejected,
      map_from_entries(list((port, messages) order by port)) as ports from by_port group by flow, node),
    lost as (select flow, node, any_value(node_type) as node_type, count(*) as dead, max("at") as "at"
      from main.dead group by flow, node),
    every_node as (select flow, node from main.flow_nodes union select flow, node from gave
      union select flow, node from lost)
    select flow, node, coalesce(n.node_type, gave.node_type, lost.node_type) as node_type,
      case when w.flow is not null then coalesce(inputs, 0) end::bigint as inputs, coalesce(out, 0)::bigint as out,
      coalesce(rejected, 0)::bigint as rejected, coalesce(dead, 0)::bigint as dead,
      coalesce(ports, map {})::map(varchar, bigint) as ports, greatest(gave."at", lost."at") as last_at,
      coalesce(paused, false) as paused
    from every_node left join main.flow_nodes n using (flow, node) left join gave using (flow, node)
      left join lost using (flow, node) left join fed using (flow, node)
      left join (select distinct flow, node from main.flow_wires) w using (flow, node)
    order by flow, n.place, node
    """,
    {
        "inputs": "messages on its wires; null for a node that reads what people publish",
        "out": "messages that it gave, on every port but `rejected`",
        "rejected": "inputs that it refused",
        "dead": "inputs that it could not do, and that nobody has retried or dropped",
        "ports": "messages that it gave, by port",
        "last_at": "when it last gave or gave up something, UTC",
    },
)

SOURCES = View(
    "main.sources",
    "Every source in every flow: what it offered, what came of it, what it cost.",
    """
    with passed_on as (select distinct w.flow, w.node, u.kind from main.flow_wires w
      join history.counts u on u.flow = w.flow and u.node = w.upstream and u.port = w.port where u.kind <> 'rejected'),
    told as materialized (select c.*, p.flow is null and s.flow is null as first, coalesce(s.last, false) as last
      from history.counts c anti join history.superseded using (flow, node, recipe)
      left join passed_on p using (flow, node, kind)
      left join (select flow, node, bool_and(last) as last from history.seeing group by flow, node) s using (flow, node)
      where source <> ''),
    reasons as (select flow, source, map_from_entries(list((reason, n) order by n desc, reason)) as rejected_by_reason
      from (select flow, source, reason, sum(messages)::bigint as n from told where first and kind = 'rejected'
        group by all) group by flow, source)
    select flow, source, coalesce(sum(messages) filter (first and kind = 'candidate'), 0)::bigint as candidates,
      coalesce(sum(messages) filter (first and kind = 'record'), 0)::bigint as records,
      coalesce(sum(messages) filter (first and kind = 'media'), 0)::bigint as fetched,
      coalesce(sum(messages) filter (first and kind = 'rejected'), 0)::bigint as rejected,
      coalesce(any_value(rejected_by_reason), map {}::map(varchar, bigint)) as rejected_by_reason,
      coalesce(sum(bytes) filter (first), 0)::bigint as bytes,
      coalesce(sum(frames) filter (first), 0)::bigint as frames,
      coalesce(sum(frames) filter (last and kind = 'kept'), 0)::bigint as kept,
      coalesce(sum(frames) filter (last and kind = 'unique'), 0)::bigint as uniques,
      coalesce(sum(frames) filter (last and kind = 'boxes'), 0)::bigint as boxed, max("at") as last_at
    from told left join reasons using (flow, source) group by flow, source order by flow, source
    """,
    {
        "source": "site that videos come from",
        "candidates": "videos that seeds led to",
        "records": "records that seeds led to",
        "fetched": "videos that were fetched",
        "rejected": "refusals, of candidates and of what was fetched",
        "rejected_by_reason": "refusals by reason, the most frequent first",
        "bytes": "bytes of the videos that were fetched",
        "frames": "frames taken from them",
        **SEEN_FRAMES,
        "last_at": "when something last came from it, UTC",
    },
)

YIELDS = View(
    "main.yields",
    "Every seed: what it offered and what came of it. A video that two seeds offer counts for the first.",
    """
    with shot as (select flow, media_id, sum(frames) as frames from main.shards group by all),
    seen as (select flow, media_id, sum(kept) as kept, sum(uniques) as uniques, sum(boxed) as boxed
      from (select flow, node, media_id, 'kept' as kind, kept, 0 as uniques, 0 as boxed from main.kept_shards
        union all select flow, node, media_id, 'unique', 0, uniques, 0 from main.unique_shards
        union all select flow, node, media_id, 'boxes', 0, 0, boxed from main.boxed_shards)
      semi join (from history.seeing where last) using (flow, node, kind) group by flow, media_id),
    got as (select flow, media_id, max(bytes) as bytes from main.media group by all),
    led as (select c.flow, c.seed_id, count(distinct media_id) as candidates, count(bytes) as fetched,
        sum(bytes) as bytes, sum(frames) as frames, sum(kept) as kept, sum(uniques) as uniques, sum(boxed) as boxed
      from main.candidates c left join got using (flow, media_id) left join shot using (flow, media_id)
        left join seen using (flow, media_id) group by all),
    noted as (select flow, seed_id, count(distinct record_id) as records from main.records group by all),
    listed as (select flow, seed_id, max(offered) as offered from main.listings group by all)
    select flow, seed_id, kind, value, offered, coalesce(candidates, 0) as candidates,
      coalesce(records, 0) as records, coalesce(fetched, 0) as fetched,
      coalesce(bytes, 0)::bigint as bytes, coalesce(frames, 0)::bigint as frames,
      coalesce(kept, 0)::bigint as kept, coalesce(uniques, 0)::bigint as uniques, coalesce(boxed, 0)::bigint as boxed,
      "at"
    from main.seeds left join listed using (flow, seed_id) left join led using (flow, seed_id)
      left join noted using (flow, seed_id)
    """,
    {
        "candidates": "videos that no seed had led to before",
        "records": "records that no seed had led to before",
        "fetched": "how many of the videos were fetched",
        "bytes": "bytes of those",
        "frames": "frames taken from those",
        **SEEN_FRAMES,
    },
)

HOURLY = View(
    "main.hourly",
    "What each source gave in each hour: new videos, and what was refused.",
    """
    select flow, source, date_trunc('hour', "at") as hour, sum(new)::bigint as new_videos,
      sum(copies)::bigint as duplicates, sum(refused)::bigint as rejected, sum(bytes)::bigint as bytes,
      sum(frames)::bigint as frames
    from (select flow, source, "at", 1 as new, 0 as copies, 0 as refused, bytes, 0 as frames from main.media
      union all select flow, source, "at", 0, (reason = 'duplicate')::int, (reason <> 'duplicate')::int, 0, 0
        from main.rejects anti join history.seeing using (flow, node)
      union all select flow, source, "at", 0, 0, 0, 0, frames from main.shards)
    group by flow, source, hour
    """,
    {
        "hour": "beginning of the hour, UTC",
        "new_videos": "videos fetched that the flow did not have",
        "duplicates": "videos refused because another has the same bytes",
        "rejected": "other refusals",
        "bytes": "bytes of the new videos",
        "frames": "frames taken in that hour",
    },
)

DRY = View(
    "main.dry",
    "Sources and seeds that have run dry: what they lately offered was all known or refused.",
    """
    with outcome as (select flow, source, "at", true as new from main.media
      union all select flow, source, "at", false from main.rejects anti join history.seeing using (flow, node)
        where source <> ''),
    by_source as (select *, max("at") filter (new) over (partition by flow, source) as last_new from outcome),
    led as (select flow, seed_id, count(*) as new
      from (select flow, seed_id from main.candidates union all select flow, seed_id from main.records) group by all),
    looked as (select s.flow, s.kind || ' ' || s.value as seed, l."at", coalesce(led.new, 0) > 0 as new
      from main.listings l join main.seeds s using (flow, seed_id) left join led using (flow, seed_id)
      where l.offered > 0),
    by_seed as (select *, max("at") filter (new) over (partition by flow, seed) as last_new from looked)
    select flow, 'source' as what, source as name, count(*) as fruitless, last_new from by_source
      where last_new is null or "at" > last_new group by flow, source, last_new having count(*) >= 20
    union all
    select flow, 'seed', seed, count(*), last_new from by_seed
      where last_new is null or "at" > last_new group by flow, seed, last_new having count(*) >= 2
    """,
    {
        "what": "source or seed",
        "name": "the site, or the seed's kind and value",
        "fruitless": "videos from it since then that were all refused (20 or more), or looks at the seed that offered "
        "nothing new (2 or more)",
        "last_new": "when it last gave something new, UTC; null where it never did",
    },
)

ORIGINS = View(
    "main.origins",
    "Where each video was found: one with the same bytes at several addresses has a row for each.",
    """
    select flow, media_id, media_id as origin_id, url, source, "at" from main.media
    union all
    select r.flow, r.repeats, r.entity, c.url, r.source, r."at"
    from main.rejects r left join main.candidates c on c.flow = r.flow and c.media_id = r.entity
    where r.reason = 'duplicate'
    """,
    {"media_id": "id of the video that is kept", "origin_id": "id of the video at this address"},
)

SUSPECTS = View(
    "main.suspects",
    "Files that more than three URLs of a flow gave: perhaps placeholders. `lode fakes stats` counts over all flows.",
    """
    select flow, sha256, any_value(m.bytes) as bytes, media_id, any_value(m.url) as url,
      count(distinct coalesce(o.url, origin_id)) as urls, list_sort(list(distinct o.source)) as sources,
      max(o."at") as last_at
    from main.origins o join main.media m using (flow, media_id) group by flow, sha256, media_id having urls > 3
    """,
    {
        "url": "URL that it was fetched from",
        "urls": "URLs that gave these bytes",
        "sources": "sites that they are on",
        "last_at": "when it last came from another, UTC",
    },
)

VIEWS = (
    SUPERSEDED,
    SEEING,
    *(_current(t.name, t.says) for t in TABLES),
    FRAMES,
    *SEEN,
    PROGRESS,
    SOURCES,
    YIELDS,
    HOURLY,
    DRY,
    ORIGINS,
    SUSPECTS,
    STAGES,
    PROMPTS,
    SAVED,
)
"""In the order in which they can be made."""
