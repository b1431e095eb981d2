"""What the demo prints: plain lines, tables, and at the end whether all is as it must be."""

import os
import shlex
from typing import Any

from lodestream.catalog import Answer
from lodestream.cli.output import Mark, show, table
from lodestream.cli.wording import plural, size
from lodestream.demo.site import Site
from lodestream.local.home import VARIABLE

NODES = """select node, node_type, coalesce(inputs, (select count(*) from seeds where flow = 'demo')) as inputs, ports,
    (select string_agg(n || ' ' || reason, ', ' order by reason) from (select reason, count(*) as n from rejects r
        where r.flow = 'demo' and r.node = p.node group by reason)) as rejected, dead
    from progress p where flow = 'demo'"""
UNIQUE = """select (select sum(offered)::bigint from listings where flow = 'demo') as offered,
    (select count(*) from candidates where flow = 'demo') as by_url,
    (select count(*) from rejects where flow = 'demo' and reason = 'duplicate') as copies"""
QUERIES = (
    "select title, codec, width, height, duration_s, damaged from media where flow = 'demo' order by url",
    "select node, reason, detail from rejects where flow = 'demo' union all "
    "select node, reason, detail from dead where flow = 'demo'",
)


def say(text: str) -> None:
    """One line."""
    show(text)


def nodes(rows: list[dict[str, Any]], waiting: dict[str, int]) -> None:
    """A line for each node: what went in, what came out, what was refused and why."""
    heads = ["node", "type", "in", "out", "rejected", "dead", "waiting"]
    show("", table(heads, [_node(row, waiting[row["node"]]) for row in rows], fold=True), "")


def _node(row: dict[str, Any], waiting: int) -> list[Any]:
    out = ", ".join(f"{number} {port}" for port, number in row["ports"].items() if port != "rejected")
    return [row["node"], row["node_type"], row["inputs"], out, row["rejected"] or "", row["dead"], waiting]


def unique(row: dict[str, int]) -> None:
    """How much of what was offered was new."""
    offered, by_url, copies = row["offered"], row["by_url"], row["copies"]
    show(f"unique    {by_url - copies} of {offered} videos offered: {offered - by_url} had been offered before under "
         f"the same or another spelling of their URL, {copies} was a copy of another", "")  # fmt: skip


def answer(query: str, given: Answer) -> None:
    """A query as it can be typed, and what the catalog answers."""
    rows = [["" if value is None else str(value) for value in row] for row in given.rows]
    show(f"$ {lode()} sql {shlex.quote(query)}", table(given.columns, rows, fold=True), "")


def verdict(wrong: list[str], added: int, known: int, site: Site, seconds: float) -> None:
    """Whether all is as it must be, and what of it this run has added."""
    if wrong:
        show(Mark("not as it must be:", "bad").text, *(f"  {line}" for line in wrong))
        return
    downloaded = f"{plural(sum(site.hits.values()), 'file')} ({size(site.sent)}) downloaded"
    if known and not added:
        show("nothing new: every seed, video and frame was known; nothing was added, nothing downloaded")
    elif known:
        show(f"carried on from {plural(known, 'message')} of an earlier run: {added} added, {downloaded}")
    show(f"all as it must be, in {seconds:.0f} s" + ("" if known else f": {plural(added, 'message')}, {downloaded}"))


def what_next() -> None:
    """Three commands to try on the same instance."""
    show("", "next:", f"  {lode()} up -d", f'  {lode()} sql "from sources"', f"  {lode()} status --watch")


def lode() -> str:
    """How this instance's commands begin."""
    home = os.environ.get(VARIABLE)
    return f"{VARIABLE}={shlex.quote(home)} ./lode" if home else "./lode"
