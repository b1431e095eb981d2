"""The DuckDB file and its one writer: rows and watermark in one transaction, or neither."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import duckdb
import structlog

from lodestream.catalog.gate import CLOSE, MACRO
from lodestream.catalog.query import first_line
from lodestream.flow.model import Deployed
from proto import subjects
from services.catalog import flow_rows, schema
from services.catalog.forget import forget
from services.catalog.insert import COUNT, COUNT_FORM, INSERTS, count_rows, json_lines
from services.catalog.limits import CONFIG
from services.catalog.project import Record, Rows, project

log = structlog.get_logger()

LOG_SIZE = 64 << 20
"""Bytes of DuckDB's log after which it is worked into the file: more often costs latency, more seldom a slow start."""
ITS_OWN_FAULT = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException)
"""Errors that a message brings on, not the disk or the memory."""


class Mark(NamedTuple):
    """How far one stream is in the tables."""

    created: str
    seq: int
    at: int | None
    """When the stream stored that message: microseconds since 1970."""


class Store:
    """The tables. Everything but `reader` is for the one thread that writes."""

    def __init__(self, file: Path):
        """Open `file`, or make it. Raises duckdb.Error."""
        self.file, self.hold_log = file, False
        self._connection = duckdb.connect(
            str(file),
            config={
                **CONFIG,
                "wal_autocheckpoint": "1TB",
                "temp_directory": f"{file}.spill",
                "max_temp_directory_size": "1GB",
            },
        )
        if self._version() != schema.version():
            self.empty()
        for statement in (MACRO, *CLOSE):
            self._connection.execute(statement)
        self._readers = self._connection.cursor()
        self.marks = self._read_marks()
        """By stream; replaced whole, so that any thread may read it."""
        self.flows: dict[str, Deployed] = {}

    def reader(self) -> duckdb.DuckDBPyConnection:
        """A connection for one query; for one thread at a time."""
        return self._readers.cursor()

    def close(self) -> None:
        """Work the log into the file and let go of it."""
        with suppress(duckdb.Error):
            self.checkpoint()
        self._connection.close()

    def empty(self) -> None:
        """Drop everything, and make the tables anew."""
        with self._transaction() as run:
            found = run.execute("select schema_name, view_name from duckdb_views() where not internal").fetchall()
            for name in found:
                run.execute('drop view "{}"."{}"'.format(*name))
            found = run.execute("select schema_name, table_name from duckdb_tables() where not internal").fetchall()
            for name in found:
                run.execute('drop table "{}"."{}"'.format(*name))
            schema.create(run)
        self.marks = {}

    def begin(self, stream: str, created: str) -> None:
        """Note a stream that will be read from its beginning; what was known of one of that name is dropped."""
        with self._transaction() as run:
            self._forget(run, stream)
            run.execute("insert into main.watermark values (?, ?, 0, null)", [stream, created])
        self.marks = self.marks | {stream: Mark(created, 0, None)}

    def forget(self, stream: str) -> None:
        """Drop what came from a stream that is no more."""
        with self._transaction() as run:
            self._forget(run, stream)
        self.marks = {name: mark for name, mark in self.marks.items() if name != stream}

    def apply(self, records: Sequence[Record]) -> None:
        """Write a batch, in order of each stream; what is there already is skipped. Raises duckdb.Error."""
        new = [r for r in records if r.stream in self.marks and r.seq > self.marks[r.stream].seq]
        try:
            self._write(project(new), new)
        except ITS_OWN_FAULT:
            for record in new:
                self._write_one(record)

    def set_flows(self, flows: dict[str, Deployed]) -> None:
        """Note the deployed flows as they are now."""
        with self._transaction() as run:
            flow_rows.replace(run, flows)
        self.flows = flows

    def tidy(self) -> None:
        """Work a long log into the file; put off while somebody reads or copies."""
        log_file = self.file.with_name(self.file.name + ".wal")
        if not self.hold_log and log_file.exists() and log_file.stat().st_size > LOG_SIZE:
            self.checkpoint()

    def checkpoint(self) -> bool:
        """Work the log into the file; False where a reader is in the way."""
        try:
            self._connection.execute("checkpoint")
        except duckdb.TransactionException:
            return False
        return True

    def _write_one(self, record: Record) -> None:
        try:
            self._write(project([record]), [record])
        except ITS_OWN_FAULT as error:
            rows = Rows()
            rows.refuse(record, "unstorable message", first_line(error))
            self._write(rows, [record])

    def _write(self, rows: Rows, records: Sequence[Record]) -> None:
        last = {record.stream: record for record in records}
        with self._transaction() as run:
            if rows.letters:
                gone = "delete from main.dead where stream = $dead and subject in (select unnest($subjects))"
                run.execute(gone, {"dead": subjects.DEAD, "subjects": list(rows.letters)})
            for table, new in rows.tables.items():
                statement, form = INSERTS[table]
                run.execute(statement, {"form": form, "rows": json_lines(new)})
            if rows.counts:
                run.execute(COUNT, {"form": COUNT_FORM, "rows": count_rows(rows.counts)})
            for record, notice in rows.notices:
                forget(run, record, notice)
            for r in last.values():
                moved = 'update main.watermark set seq = ?, "at" = make_timestamp(?) where stream = ?'
                run.execute(moved, [r.seq, r.at, r.stream])
        moved_on = {r.stream: self.marks[r.stream]._replace(seq=r.seq, at=r.at) for r in last.values()}
        self.marks = self.marks | moved_on

    def _forget(self, run: duckdb.DuckDBPyConnection, stream: str) -> None:
        run.execute("delete from main.watermark where stream = ?", [stream])
        run.execute("delete from main.dead where stream = ?", [stream])
        if stream != subjects.DEAD:
            for table in schema.OF_FLOWS:
                run.execute(f"delete from {table} where flow = ?", [subjects.flow_of(stream)])

    def _read_marks(self) -> dict[str, Mark]:
        found = self._connection.execute('select stream, created, seq, epoch_us("at") from main.watermark').fetchall()
        return {stream: Mark(*mark) for stream, *mark in found}

    def _version(self) -> str:
        try:
            found = self._connection.execute("select digest from history.version").fetchone()
        except duckdb.CatalogException:
            return ""
        return str(found[0]) if found else ""

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """All of it or nothing."""
        try:
            self._connection.execute("begin")
            yield self._connection
            self._connection.execute("commit")
        except BaseException:
            with suppress(duckdb.Error):
                self._connection.execute("rollback")
            raise
