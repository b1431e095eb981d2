"""What the demo prints: plain lines, tables, and at the end whether all is as it must be."""

import os
import shlex
from typing import Any

from lodestream.catalog import Answer
from lodestream.cli.output import Cell, Mark, cell_text, show, table
from lodestream.cli.wording import plural, size
from lodestream.demo.site import Site
from lodestream.local.home import VARIABLE

NODES = """select node, node_type, inputs, ports, dead,
    (select string_agg(n || ' ' || reason, ', ' order by reason) from (select reason, count(*) as n from rejects r
        where r.flow = 'demo' and r.node = p.node group by reason)) as rejected
    from progress p where flow = 'demo'"""
UNIQUE = """select (select sum(offered)::bigint from listings where flow = 'demo') as offered,
    (select count(*) from candidates where flow = 'demo') as by_url,
    (select count(*) from rejects where flow = 'demo' and reason = 'duplicate') as copies"""
QUERIES = (
    "select node, frames_in, frames, boxes, dropped_by_reason::varchar as dropped from stages where flow = 'demo'",
    "select url, codec, m.width, m.height, duration_s, count(*) as frames, damage from media m "
    "join frames using (flow, media_id) where flow = 'demo' group by all order by url",
    "select reason, url as what, r.detail from rejects r join candidates c on entity = media_id where r.flow = 'demo' "
    "union all select reason, input, detail from dead where flow = 'demo' order by reason",
)
"""What every stage did to the frames, what came of every video, and what was refused."""


def say(text: str) -> None:
    """One line."""
    show(text)


def nodes(rows: list[dict[str, Any]], published: int, waiting: dict[str, int]) -> None:
    """A line for each node: what went in, what came out, what was refused and why."""
    heads = ["node", "type", "in", "out", "rejected", "dead", "waiting"]
    show("", table(heads, [_node(row, published, waiting[row["node"]]) for row in rows], fold=True), "")


def _node(row: dict[str, Any], published: int, waiting: int) -> list[Cell]:
    took = published if row["inputs"] is None else row["inputs"]
    out = ", ".join(f"{number} {port}" for port, number in row["ports"].items() if port != "rejected")
    return [row["node"], row["node_type"], took, out, row["rejected"], row["dead"], waiting]


def unique(row: dict[str, int]) -> None:
    """How much of what was offered was new."""
    offered, by_url, copies = row["offered"], row["by_url"], row["copies"]
    show(f"unique    {by_url - copies} of the {offered} videos offered: {offered - by_url} under another spelling of "
         f"a known URL, {copies} the same bytes as another", "")  # fmt: skip


def answer(query: str, given: Answer) -> None:
    """A query as it can be typed, and what the catalog answers."""
    show(f'$ {lode()} sql "{query}"', table(given.columns, given.rows, fold=True), "")


def verdict(wrong: list[str], added: int, known: int, site: Site, seconds: float) -> None:
    """Whether all is as it must be, and what of it this run has added."""
    if wrong:
        show(cell_text(Mark("Not as it must be:", "bad")), *(f"  {line}" for line in wrong))
        return
    downloaded = f"{size(site.sent)} downloaded in {plural(sum(site.hits.values()), 'request')}"
    if not known:
        said = f"{plural(added, 'message')} stored, {downloaded}."
    elif added:
        said = f"Carried on from {plural(known, 'message')} of an earlier run: {added} added, {downloaded}."
    else:
        said = "Nothing new: every seed, video and frame was known; nothing was added, nothing downloaded."
    show(cell_text(Mark(f"All is as it must be, after {seconds:.0f} s.", "good")), said)


def what_next(up: bool) -> None:
    """Three commands to try on the same instance."""
    first = "status --watch" if up else "up -d"
    more = ("dead ls", 'flow new cats --query "cat jumps" --every 1s')
    show("", "Next:", *(f"  {lode()} {command}" for command in (first, *more)))


def lode() -> str:
    """How this instance's commands begin."""
    home = os.environ.get(VARIABLE)
    return f"{VARIABLE}={shlex.quote(home)} ./lode" if home else "./lode"
