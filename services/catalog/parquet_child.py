"""Writes a copy of the tables as Parquet, in a process of its own: only what no earlier snapshot has.

A file holds a range of a flow's stream and never changes. When a flow's recipes change, what its files show is no
longer what the tables show, so its files are written anew under another token.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import msgspec

from proto import ids, keys, subjects
from services.catalog.limits import CONFIG, bound_memory

TABLES = {
    "seeds": "*",
    "candidates": "*",
    "listings": "*",
    "records": "*",
    "media": "*",
    "shards": "* exclude (time_ms, byte_offset, byte_length)",
    "frames": "*",
    "judged": "*",
    "uniques": "*",
    "duplicates": "*",
    "boxes": "*",
    "rejects": "*",
}
"""What is taken of each table; `dead` is written whole, for its rows leave. `kept` is where `judged` says so."""


class File(msgspec.Struct, frozen=True):
    """One Parquet file: the rows of one flow behind sequence `after`, up to `upto`."""

    key: str
    table: str
    flow: str
    token: str
    """Stands for all that could change these rows: the schema, the stream, the flow's recipes."""
    after: int
    upto: int
    rows: int


class Manifest(msgspec.Struct):
    """What a snapshot consists of. Whoever reads the files named here sees every row once."""

    at: str
    """When it was made, ISO 8601."""
    schema: str
    files: list[File]


class Work(msgspec.Struct):
    """What this process is to do."""

    copy: str
    """Path of a copy of the database."""
    folder: str
    """Where the new files go, under the names that their keys end with."""
    before: Manifest | None
    there: list[str]
    """Keys that the store has."""


class Writer:
    """Writes the new files of one snapshot."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, work: Work):
        self._run, self._folder = connection.execute, Path(work.folder)
        before = work.before.files if work.before else []
        there = set(work.there)
        self._known = [file for file in before if file.key in there]
        self.schema = str(self._all("select digest from history.version")[0][0])
        self.files: list[File] = []

    def write(self) -> Manifest:
        """The manifest of this snapshot; its new files lie in the folder."""
        marks = self._all("select stream, created, seq from main.watermark order by stream")
        for stream, created, seq in marks:
            if stream != subjects.DEAD:
                self._flow(subjects.flow_of(stream), created, seq)
        self._dead(repr(marks))
        return Manifest(datetime.now(UTC).isoformat(timespec="seconds"), self.schema, self.files)

    def _flow(self, flow: str, created: str, upto: int) -> None:
        recipes = self._all("select node, recipes from main.flow_nodes where flow = ? order by node", flow)
        forgotten = self._all("select max(seq) from main.forgotten where flow = ?", flow)
        token = ids.digest(repr((self.schema, created, recipes, forgotten)).encode(), 4)
        for table in TABLES:
            after = 0
            for file in sorted(
                (f for f in self._known if (f.table, f.flow, f.token) == (table, flow, token)), key=_after
            ):
                if file.after == after:
                    self.files.append(file)
                    after = file.upto
            if after < upto:
                self._range(table, flow, token, after, upto)

    def _range(self, table: str, flow: str, token: str, after: int, upto: int) -> None:
        name = f"{table}/{flow}-{token}-{after:012d}-{upto:012d}.parquet"
        where = "flow = $flow and seq > $after and seq <= $upto"
        rows = self._write(
            name, f"select {TABLES[table]} from main.{table} where {where}", flow=flow, after=after, upto=upto
        )
        if rows or not after:
            self.files.append(File(keys.snapshot(name), table, flow, token, after, upto, rows))

    def _dead(self, marks: str) -> None:
        token = ids.digest((self.schema + marks).encode(), 4)
        name = f"dead/{token}.parquet"
        self.files.append(
            File(keys.snapshot(name), "dead", "", token, 0, 0, self._write(name, "select * from main.dead"))
        )

    def _write(self, name: str, query: str, **values: str | int) -> int:
        (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
        rows = self._run(f"copy ({query}) to '{self._folder / name}' (format parquet, compression zstd)", values)
        return int((rows.fetchone() or [0])[0])

    def _all(self, query: str, *values: str) -> list[tuple]:
        return self._run(query, values).fetchall()


def _after(file: File) -> int:
    return file.after


def main() -> None:
    """Read `Work` from standard input, write the manifest to standard output."""
    os.nice(5)
    bound_memory()
    work = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
    with duckdb.connect(work.copy, read_only=True, config={**CONFIG, "temp_directory": work.folder}) as connection:
        manifest = Writer(connection, work).write()
    sys.stdout.buffer.write(msgspec.json.encode(manifest))


if __name__ == "__main__":
    main()
