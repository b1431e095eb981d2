"""A run: the newest seeds of a flow, and what they brought that was not there before, or why they brought nothing."""

from datetime import UTC, datetime, timedelta

import msgspec
from nats.js.api import ConsumerConfig, DeliverPolicy

from lodestream.bus import Bus
from lodestream.bus.reader import held
from lodestream.catalog import Ways, sql
from proto import subjects

GAP = timedelta(minutes=1)
"""Seeds further apart belong to different runs."""
LONGEST = timedelta(days=1)
"""How far back a run's first seed is looked for."""

_FOUND = """
with s as (select $since::timestamp as since),
  listed as (select kind, offered from listings l join seeds using (flow, seed_id), s
    where flow = $flow and l."at" >= since),
  last as (from history.seeing where last),
  no as (select reason, count(*) as n from rejects, s where flow = $flow and "at" >= since group by reason)
select
  (select count(*) from seeds, s where flow = $flow and "at" >= since) as seeds,
  (select count(*) from dead, s where flow = $flow and "at" >= since) as dead,
  (select coalesce(sum(offered), 0)::bigint from listed where kind <> 'records') as offered,
  (select coalesce(sum(offered), 0)::bigint from listed where kind = 'records') as records_offered,
  (select count(*) from records, s where flow = $flow and "at" >= since) as records,
  (select count(*) from candidates, s where flow = $flow and "at" >= since) as candidates,
  (select count(*) from media, s where flow = $flow and "at" >= since) as videos,
  (select coalesce(sum(bytes), 0)::bigint from media, s where flow = $flow and "at" >= since) as bytes,
  (select coalesce(sum(frames), 0)::bigint from shards, s where flow = $flow and "at" >= since) as frames,
  (select coalesce(sum(kept), 0)::bigint from kept_shards semi join last using (flow, node), s
    where flow = $flow and "at" >= since) as kept,
  (select coalesce(sum(uniques), 0)::bigint from unique_shards semi join last using (flow, node), s
    where flow = $flow and "at" >= since) as uniques,
  (select coalesce(sum(boxes), 0)::bigint from boxed_shards semi join last using (flow, node), s
    where flow = $flow and "at" >= since) as boxes,
  coalesce((select map_from_entries(list((reason, n) order by n desc, reason)) from no), map {}) as rejected
"""


class Run(msgspec.Struct):
    """What a run was given, and what was new in it."""

    since: str
    """When its first seed was published: ISO 8601, UTC."""
    published: int
    """Messages on `seeds.<flow>`."""
    seeds: int
    dead: int
    offered: int
    """Videos that sources listed, known ones included."""
    candidates: int
    """Those of them that no seed had led to before."""
    videos: int
    bytes: int
    frames: int
    rejected: dict[str, int]
    """Refusals by reason, the most frequent first."""
    kept: int = 0
    """Frames that filters kept: the last, where several follow each other."""
    uniques: int = 0
    """Frames that were new to the flow."""
    boxes: int = 0
    records_offered: int = 0
    """Records that sources listed, known ones included."""
    records: int = 0
    """Those of them that were not there before."""

    @property
    def known(self) -> int:
        """Videos that were offered and skipped, for they were known."""
        return max(self.offered - self.candidates, 0)

    @property
    def nothing_new(self) -> str:
        """Why it brought nothing, in words; empty where it brought something."""
        if self.videos or self.frames or self.records:
            return ""
        if self.candidates:
            return f"none of the {self.candidates:,} new candidates became a video"
        if self.offered:
            return f"all {self.offered:,} videos that were offered are known"
        if self.records_offered:
            return f"all {self.records_offered:,} records that were offered are known"
        if self.seeds:
            return "the new seeds offered no video"
        if self.dead:
            return "what was published could not be done; see: lode dead ls"
        return "every seed is known, and known seeds are not looked at again; to look again: lode seed --again"


async def latest(bus: Bus, ways: Ways, flow: str) -> Run | None:
    """The newest run of a flow; None where no seed was published for a day. Raises LodeError without a catalog."""
    times = await _published(bus, flow)
    if not times:
        return None
    first = len(times) - 1
    while first and times[first] - times[first - 1] <= GAP:
        first -= 1
    since = times[first].replace(tzinfo=None).isoformat()
    found = await sql(_FOUND.replace("$since", f"'{since}'").replace("$flow", f"'{flow}'"), ways)
    return msgspec.convert({"since": f"{since}Z", "published": len(times) - first, **found.objects()[0]}, Run)


async def _published(bus: Bus, flow: str) -> list[datetime]:
    """When the seeds of the last day were published, oldest first."""
    lately = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=datetime.now(UTC) - LONGEST, headers_only=True
    )
    seeds = held(bus.nc.jetstream(), subjects.SEEDS, subjects.seeds(flow), lately)
    return [msg.metadata.timestamp async for msg in seeds]
