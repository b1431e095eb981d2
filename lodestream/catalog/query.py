"""One query, read in parts. DuckDB writes its rows as JSON, so every type arrives as people write it."""

import asyncio
import json
import re
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

from lodestream.catalog.gate import LONGEST, NO_QUESTION, NOT_ALLOWED, NOT_ONE
from lodestream.errors import LodeError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS_AT_ONCE = 256
"""Rows taken from DuckDB in one step."""
INTERRUPT_AGAIN, INTERRUPTS = 0.25, 12
"""Seconds between interrupts of a query that is over its time, and how many: one between two statements is lost."""
_AT = re.compile(rb"at(?![\w$\x80-\xff])", re.IGNORECASE)
_NO_COLUMN = re.compile(rb"\(|time\s", re.IGNORECASE)
"""What follows AT where it is the keyword: `at time zone`, `at (version => 1)`."""
T = TypeVar("T")


class Query:
    """A query that has been started; `part` gives its rows until `more` is false."""

    def __init__(self, cursor: "DuckDBPyConnection", text: str, *, gated: bool = True):
        """Start it in a read-only transaction. Raises LodeError, duckdb.Error."""
        self.cursor, self.more = cursor, True
        self._left: list[str] = []
        sql = as_subquery(text)
        if gated:
            _check(cursor, sql)
        cursor.execute("begin transaction read only")
        described = cursor.execute(f"describe from (\n{sql}\n)").fetchall()
        self.columns = [str(row[0]) for row in described]
        self.types = [str(row[1]) for row in described]
        cursor.execute(f"select json_array(*columns(*))::varchar from (\n{sql}\n)")

    def part(self, rows: int, size: int) -> list[str]:
        """The next rows, each a JSON array: `rows` at most, together `size` bytes at most. Raises LodeError."""
        taken: list[str] = []
        while len(taken) < rows and (self._left or self._fetch()):
            size -= len(self._left[-1].encode()) + 1
            if size < 0:
                if not taken:
                    raise LodeError("one row of the answer is larger than a reply may be: choose fewer columns")
                return taken
            taken.append(self._left.pop())
        self.more = bool(self._left or self._fetch())
        return taken

    def close(self) -> None:
        """End its transaction."""
        self.cursor.close()

    def _fetch(self) -> bool:
        self._left = [_strict(row) for (row,) in reversed(self.cursor.fetchmany(ROWS_AT_ONCE))]
        return bool(self._left)


class Stuck(LodeError):
    """A query that is over its time and cannot be interrupted: DuckDB computes constants while it plans."""

    def __init__(self, seconds: float, work: "asyncio.Future[Any]"):
        super().__init__(f"stopped after {seconds:g} s: this query cannot even be planned in that time")
        self.work = work


async def in_time(
    cursor: "DuckDBPyConnection", work: Callable[[], T], seconds: float, pool: Executor | None = None
) -> T:
    """What `work` gives, in a thread; its cursor is interrupted after `seconds`, and closed where it fails.

    Raises LodeError in plain words, Stuck where interrupts do not help.
    """
    done = asyncio.get_running_loop().run_in_executor(pool, _plainly, work)
    try:
        _, late = await asyncio.wait([done], timeout=seconds)
        for _ in range(INTERRUPTS):
            if late:
                cursor.interrupt()
                _, late = await asyncio.wait(late, timeout=INTERRUPT_AGAIN)
        if late:
            raise Stuck(seconds, done)
        return done.result()
    except BaseException as error:
        cursor.interrupt()
        done.add_done_callback(lambda finished: _let_go(finished, cursor))
        if isinstance(error, _Interrupted):
            why = f"stopped after {seconds:g} s: ask for less, or filter by flow, node or media_id"
            raise LodeError(why) from None
        raise


class _Interrupted(Exception):
    pass


def _let_go(finished: "asyncio.Future[Any]", cursor: "DuckDBPyConnection") -> None:
    """Close a cursor that no thread uses any more."""
    finished.exception()
    cursor.close()


def _plainly(work: Callable[[], T]) -> T:
    import duckdb

    try:
        return work()
    except duckdb.InterruptException:
        raise _Interrupted from None
    except (duckdb.Error, MemoryError, RuntimeError) as error:
        raise LodeError(first_line(error)) from error


def first_line(error: Exception) -> str:
    """What DuckDB says of a query in one line: its first paragraph, `Did you mean` included."""
    paragraph = str(error).split("\n\n")[0].split("\nLINE ")[0]
    return re.sub(r"\s+", " ", paragraph).strip()[:500] or "out of memory"


def as_subquery(text: str) -> str:
    """The query as it can stand inside another: no semicolon at its end, and columns named `at` quoted.

    AT is a keyword of DuckDB's, so `order by at` would be a syntax error that nobody expects.
    """
    import duckdb

    raw = text.encode()
    starts = [start for start, kind in duckdb.tokenize(text)]
    while starts and raw[starts[-1] : starts[-1] + 1] == b";":
        raw = raw[: starts.pop()]
    if not starts:
        raise LodeError("nothing is asked; try: select * from progress")
    for start, following in reversed(list(zip(starts, [*starts[1:], len(raw)], strict=True))):
        if _AT.match(raw, start) and not _NO_COLUMN.match(raw, following):
            raw = raw[:start] + b'"at"' + raw[start + 2 :]
    return raw.decode()


def _check(cursor: "DuckDBPyConnection", sql: str) -> None:
    """Raises LodeError where the gate is shut; duckdb.ParserException where the text is no SQL."""
    if len(sql) >= LONGEST:
        raise LodeError(f"the query has {len(sql):,} letters; fewer than {LONGEST:,} are read")
    allowed = cursor.execute("select main.lode_gate('', ?)", [sql]).fetchone()
    if allowed and allowed[0]:
        return
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        raise LodeError(NOT_ONE.format(len(statements)))
    raise LodeError(NOT_ALLOWED if statements[0].type.name == "SELECT" else NO_QUESTION)


def _strict(row: str) -> str:
    """Without NaN and Infinity, which JSON does not have: null."""
    if "NaN" in row or "Infinity" in row:
        return json.dumps(json.loads(row, parse_constant=lambda _: None), ensure_ascii=False)
    return row
