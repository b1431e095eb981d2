"""The process behind the quack door: DuckDB's own protocol, on a copy of the tables, for reading only.

It can neither cancel a query nor bound one in time, so it is disposable: a query that runs too long costs it its life,
and nothing is lost. The tables stand in a database in memory as views of the copy, so that a newer copy can take its
place while clients stay attached. Told by standard input: first how to serve, then the path of each newer copy.
"""

import os
import sys
import threading
import time
from contextlib import suppress

import duckdb
import msgspec

from lodestream.catalog.extensions import load_quack
from lodestream.catalog.gate import CLOSE, MACRO
from services.catalog.limits import AGAIN, CONFIG, bound_memory

LOOK = 0.5
"""Seconds between looks for a query that runs too long."""


class Serve(msgspec.Struct):
    """How to serve."""

    uri: str
    """`quack:127.0.0.1:port`"""
    token: str
    folder: str
    """The only folder of which files may be opened: that of the copies."""
    seconds: float
    """Time that a query may take."""


def main() -> None:
    """Serve until standard input ends."""
    os.nice(5)
    bound_memory()
    serve = msgspec.json.decode(sys.stdin.readline(), type=Serve)
    connection = duckdb.connect(config={**CONFIG, "temp_directory": ""})
    load_quack(connection)
    for statement in (MACRO, f"set allowed_directories = ['{serve.folder}']", *CLOSE[:-1]):
        connection.execute(statement)
    shown = Shown(connection)
    shown.show(sys.stdin.readline().strip())
    connection.execute("set global quack_authorization_function = 'lode_gate'")
    connection.execute(f"call quack_serve('{serve.uri}', token = '{serve.token}')")
    connection.execute(CLOSE[-1])
    threading.Thread(target=_watch, args=(connection.cursor(), serve.seconds), daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        shown.show(line.strip())
        print("ready", flush=True)
    os._exit(0)  # with clients attached, an orderly end aborts


class Shown:
    """The copy that is shown."""

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._run, self._number = connection.execute, 0

    def show(self, file: str) -> None:
        """Let every view in memory read this copy, all in one moment."""
        self._number += 1
        name = f"copy_{self._number}"
        self._run(f"attach '{file}' as {name} (read_only)")
        self._run("begin")
        for schema, relation, comment in self._relations(name):
            self._run(f'create schema if not exists memory."{schema}"')
            self._run(f'create or replace view memory."{schema}"."{relation}" as from {name}."{schema}"."{relation}"')
            self._run(f'comment on view memory."{schema}"."{relation}" is {_quoted(comment)}')
        for schema, relation, column, comment in self._columns(name):
            self._run(f'comment on column memory."{schema}"."{relation}"."{column}" is {_quoted(comment)}')
        self._run("commit")
        with suppress(duckdb.Error):
            self._run(f"detach copy_{self._number - 1}")

    def _relations(self, name: str) -> list[tuple[str, str, str]]:
        tables = "select schema_name, table_name, comment from duckdb_tables() where database_name = $name"
        views = (
            "select schema_name, view_name, comment from duckdb_views() where database_name = $name and not internal"
        )
        return self._run(f"{tables} union all {views}", {"name": name}).fetchall()

    def _columns(self, name: str) -> list[tuple[str, str, str, str]]:
        columns = "select schema_name, table_name, column_name, comment from duckdb_columns()"
        return self._run(f"{columns} where database_name = ? and not internal", [name]).fetchall()


def _watch(connection: duckdb.DuckDBPyConnection, seconds: float) -> None:
    """End this process when a query runs too long."""
    late = """select count(*) from quack_active_connections() where state = 'active'
      and query_started_at < (now() at time zone 'UTC') - to_milliseconds(?)"""
    while connection.execute(late, [int(seconds * 1000)]).fetchone() == (0,):
        time.sleep(LOOK)
    os._exit(AGAIN)


def _quoted(text: str | None) -> str:
    return "'" + (text or "").replace("'", "''") + "'"


if __name__ == "__main__":
    main()
