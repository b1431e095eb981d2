"""Deletes the rows of messages that were forgotten, and counts anew what they were counted in."""

import duckdb

from proto import subjects
from proto.messages import Forgotten
from services.catalog.project import Count, Record, tag
from services.catalog.relations import Table
from services.catalog.tables import TABLES

KEY = Count._fields
GONE = "flow = $flow and seq in (select unnest($gone::bigint[]))"

UNNAME = r"""
with known as (select distinct media_id from history.shards where flow = $flow and seq < $seq),
told as (select seq as told, unnest(list_distinct([regexp_replace(r.frame, '_\d+$', '') for r in repeats])) as media_id
  from history.unique_shards where flow = $flow and seq < $seq),
gone as (select told, list(media_id) as media from told anti join known using (media_id) group by told)
update history.unique_shards set repeats = [struct_update(r,
  frame := if(list_contains(media, regexp_replace(r.frame, '_\d+$', '')), '', r.frame)) for r in repeats]
from gone where flow = $flow and seq = told
"""
"""Takes the names of frames that are no more out of what is said of others; that message itself stays in the stream."""


def forget(run: duckdb.DuckDBPyConnection, record: Record, notice: Forgotten) -> None:
    """Delete what `notice`, which came as `record`, says is gone; for a transaction, after what came before it."""
    gone = [seq for seq in notice.sequences if seq < record.seq]
    dead = "delete from main.dead where stream = $stream and seq in (select unnest($gone::bigint[]))"
    run.execute(dead, {"stream": record.stream, "gone": gone})
    if record.stream == subjects.DEAD:
        return
    given = {"flow": subjects.flow_of(record.stream), "gone": gone}
    run.execute(f"create or replace temp table stale as {' union '.join(map(_keys, TABLES))}", given)
    for table in TABLES:
        run.execute(f"delete from history.{table.name} where {GONE}", given)
    run.execute(UNNAME, {"flow": given["flow"], "seq": record.seq})
    same = " and ".join(f"counts.{name} = stale.{name}" for name in KEY)
    run.execute(f"delete from history.counts using stale where {same}")
    for table in TABLES:
        run.execute(_count(table))
    run.execute("drop table stale")
    noted = "insert into main.forgotten values (?, ?, ?, make_timestamp(?))"
    run.execute(noted, [given["flow"], len(gone), record.seq, record.at])


def _keys(table: Table) -> str:
    """What those rows of a table that go are counted by."""
    own = _columns(table)
    found = [f"'{tag(table.kind)}' as kind" if n == "kind" else n if n in own else f"'' as {n}" for n in KEY]
    return f"select distinct {', '.join(found)} from history.{table.name} where {GONE}"


def _count(table: Table) -> str:
    """Counts what is left of a table's rows by keys of which some have gone."""
    own = _columns(table)
    volume = "sum(t.bytes)" if table.name == "media" else "0"
    frames = f"sum(t.{table.counted})" if table.counted else "0"
    same = [f"t.{name} = stale.{name}" for name in KEY if name in own] + [f"stale.kind = '{tag(table.kind)}'"]
    keys = ", ".join(f"stale.{name}" for name in KEY)
    counted = f'select {keys}, count(*), {volume}, {frames}, max(t."at")'
    rows = f"from history.{table.name} t, stale where {' and '.join(same)} group by all"
    return f"insert into history.counts {counted} {rows}"


def _columns(table: Table) -> set[str]:
    """The columns that outputs are counted by, as far as a table has them.

    A seed's `kind` is another thing, and so are the reasons of a filter, one a frame.
    """
    return {column.name for column in table.columns if column.type == "VARCHAR"} - {"kind"}
