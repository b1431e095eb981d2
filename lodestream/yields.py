"""Whether it is worth going on: new videos by the hour, and sources that have run dry, as the catalog has them."""

from collections import defaultdict
from typing import NamedTuple

from lodestream.catalog import Ways, sql

HOURS = 12
"""Of which the yield is shown."""
DRY_SHOWN = 5
"""Sources of a flow at most that are said to have run dry."""
_HOURLY = f"""
select flow, date_diff('hour', hour, date_trunc('hour', now()::timestamp)) as ago, sum(new_videos)::bigint
from hourly where hour > now()::timestamp - interval {HOURS} hours group by all
"""
_DRY = "select flow, what, name, fruitless, last_new::varchar from dry order by fruitless desc"


class Yield(NamedTuple):
    """What one flow brought of late."""

    new_videos: list[int]
    """In each of the last 12 hours, this one last."""
    dry: list[str]
    """Sources and seeds that have run dry, in words."""


async def yields(ways: Ways, seconds: float) -> dict[str, Yield]:
    """By flow; the catalog may take so many seconds for each of two queries. Raises LodeError where it is silent."""
    found: dict[str, Yield] = defaultdict(lambda: Yield([0] * HOURS, []))
    for flow, ago, new in (await sql(_HOURLY, ways, seconds=seconds)).rows:
        if 0 <= ago < HOURS:
            found[flow].new_videos[-1 - ago] = new
    for flow, what, name, fruitless, last_new in (await sql(_DRY, ways, seconds=seconds)).rows:
        if len(found[flow].dry) < DRY_SHOWN:
            found[flow].dry.append(_words(what, name, fruitless, last_new))
    return found


def _words(what: str, name: str, fruitless: int, last_new: str | None) -> str:
    since = f"since {last_new[:16]} UTC" if last_new else "ever"
    if what == "seed":
        return f"seed {name!r} has run dry: {fruitless} looks at it offered nothing new {since}"
    return f"{name} has run dry: {fruitless:,} videos from it and none of them new {since}"
