"""How a query finds its way: the service if it answers, else its file if nobody holds it, else its quack door."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import nats.errors
from nats.aio.client import Client

from lodestream.catalog.extensions import load_quack
from lodestream.catalog.gate import CLOSE, CONFIG
from lodestream.catalog.query import Query, as_subquery, first_line, in_time
from lodestream.errors import LodeError
from proto import subjects

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FILE = "catalog.duckdb"
"""The catalog's file in its folder."""
TOKEN_FILE, DOOR_FILE = "quack.token", "quack.uri"
"""Beside it: what DuckDB clients show, where the service was told no other place, and where they find it."""
SECONDS = 30.0
"""Time that a query has where nobody says."""
ANSWER = 5.0
"""Seconds beyond a query's own that its answer may take."""
PART_ROWS, PART_BYTES = 10_000, 32 << 20
"""What is read from a file in one step."""


class Answer(msgspec.Struct):
    """What a query gave. Values are JSON's: times and intervals are text, lists and structs are themselves."""

    columns: list[str]
    types: list[str]
    """DuckDB's names of the types."""
    rows: list[list[Any]]
    truncated: bool
    """Whether there were more rows than were wanted."""
    ms: float
    way: str
    """`service`, `file` or `quack`."""

    def objects(self) -> list[dict[str, Any]]:
        """One object a row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Ways:
    """Where the catalog of one instance may be reached; what is unknown is None."""

    nc: Client | None = None
    folder: Path | None = None
    """The service's folder, where it is on this machine."""
    token_file: Path | None = None
    """What DuckDB clients show; in that folder where None."""


async def sql(text: str, ways: Ways, *, seconds: float = SECONDS, rows: int | None = None) -> Answer:
    """Every row that `text`, one SELECT, gives: `rows` at most. Raises LodeError in one line."""
    started = time.perf_counter()
    answer = await _from_service(text, ways, seconds, rows)
    answer = answer or await _from_file(text, ways, seconds, rows)
    answer = answer or await _from_quack(text, ways, seconds, rows)
    if answer is None and ways.folder and (ways.folder / FILE).exists():
        raise LodeError("the catalog does not answer, and its file is in use; try again, or see: lode logs catalog")
    if answer is None:
        raise LodeError("the catalog does not answer, and has no file here; start it with: lode up")
    answer.ms = round((time.perf_counter() - started) * 1e3, 1)
    return answer


async def ask(nc: Client, subject: str, request: dict[str, Any] | None = None, *, seconds: float = SECONDS) -> Any:
    """One request to the catalog's service. Raises LodeError where it says no, NoRespondersError where it is away."""
    try:
        reply = await nc.request(subject, json.dumps(request or {}).encode(), timeout=seconds + ANSWER)
    except (TimeoutError, nats.errors.TimeoutError):
        raise LodeError(f"the catalog has not answered within {seconds + ANSWER:g} s; see: lode logs catalog") from None
    answer = json.loads(reply.data)
    if "error" in answer:
        raise LodeError(answer["error"])
    return answer


async def _from_service(text: str, ways: Ways, seconds: float, rows: int | None) -> Answer | None:
    """None where it is away. A long answer is fetched part by part, so no reply is larger than NATS allows."""
    if ways.nc is None or not ways.nc.is_connected:
        return None
    request: dict[str, Any] = {"sql": text, "seconds": seconds, "keep": True}
    try:
        part = await ask(
            ways.nc, subjects.CATALOG_SQL, request | ({} if rows is None else {"rows": rows}), seconds=seconds
        )
    except nats.errors.NoRespondersError:
        return None
    answer = Answer(part["columns"], part["types"], part["rows"], False, 0.0, "service")
    while part["next"] and (rows is None or len(answer.rows) < rows):
        wanted = {} if rows is None else {"rows": rows - len(answer.rows)}
        try:
            part = await ask(ways.nc, subjects.CATALOG_SQL, {"next": part["next"], **wanted}, seconds=seconds)
        except nats.errors.NoRespondersError:
            raise LodeError("the catalog went away in the middle of its answer; ask again") from None
        answer.rows += part["rows"]
    answer.truncated = part["truncated"]
    return answer


async def _from_file(text: str, ways: Ways, seconds: float, rows: int | None) -> Answer | None:
    """None where there is no file, or another process holds it."""
    import duckdb

    file = ways.folder / FILE if ways.folder else None
    if file is None or not file.exists():
        return None
    try:
        connection = duckdb.connect(str(file), read_only=True, config=CONFIG)
    except duckdb.IOException as error:
        if "lock" in str(error):
            return None
        raise LodeError(f"cannot read {file}: {first_line(error)}") from None
    with connection:
        for statement in CLOSE:
            connection.execute(statement)
        return await _read(connection, text, seconds, rows, "file", gated=True)


async def _from_quack(text: str, ways: Ways, seconds: float, rows: int | None) -> Answer | None:
    """None where no door is known."""
    import duckdb

    if not ways.folder or not (ways.folder / DOOR_FILE).exists():
        return None
    try:
        door = (ways.folder / DOOR_FILE).read_text().strip()
        token = (ways.token_file or ways.folder / TOKEN_FILE).read_text().strip()
    except OSError as error:
        raise LodeError(f"cannot read how DuckDB clients find the catalog: {error}") from None
    with duckdb.connect(config=CONFIG) as connection:
        load_quack(connection)
        connection.execute("set timezone = 'UTC'")
        asked = f"from quack_query({_quoted(door)}, {_quoted(as_subquery(text))}, token = {_quoted(token)})"
        return await _read(connection, asked, seconds, rows, "quack", gated=False)


async def _read(
    connection: "DuckDBPyConnection", text: str, seconds: float, rows: int | None, way: str, *, gated: bool
) -> Answer:
    deadline = asyncio.get_running_loop().time() + seconds
    query = await in_time(connection, lambda: Query(connection, text, gated=gated), seconds)
    answer = Answer(query.columns, query.types, [], False, 0.0, way)
    while query.more and (rows is None or len(answer.rows) < rows):
        wanted = PART_ROWS if rows is None else min(PART_ROWS, rows - len(answer.rows))
        left = deadline - asyncio.get_running_loop().time()
        part = await in_time(connection, lambda w=wanted: query.part(w, PART_BYTES), max(left, 0.01))  # type: ignore[misc]
        answer.rows += [json.loads(row) for row in part]
    answer.truncated = query.more
    return answer


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
