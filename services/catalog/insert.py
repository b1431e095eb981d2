"""How a batch of messages is written: DuckDB reads their JSON itself, which is measured to be the fastest."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import inspect

from proto.messages import Kept, Message
from services.catalog.project import Count, Row
from services.catalog.relations import Column, Table
from services.catalog.schema import COUNTS
from services.catalog.tables import DEAD, TABLES

_DUCKDB: dict[type, str] = {
    inspect.StrType: "VARCHAR",
    inspect.IntType: "BIGINT",
    inspect.FloatType: "DOUBLE",
    inspect.BoolType: "BOOLEAN",
    inspect.LiteralType: "VARCHAR",
    inspect.RawType: "JSON",
}


_encode_lines = msgspec.json.Encoder().encode_lines


def form(kind: type[Message]) -> str:
    """The structure of a `project.Row` of one kind of message, for DuckDB's `from_json`."""
    message = _structure(inspect.type_info(kind))
    own = {"score": ["DOUBLE"], "best": ["BIGINT"]} if kind is Kept else {}
    return json.dumps({"m": message, "seq": "BIGINT", "at": "BIGINT", "subject": "VARCHAR", "stream": "VARCHAR", **own})


def _structure(kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.Metadata):
        return _structure(kind.type)
    if isinstance(kind, inspect.UnionType):
        return _structure(next(t for t in kind.types if not isinstance(t, inspect.NoneType)))
    if isinstance(kind, inspect.StructType):
        return {f.encode_name: _structure(f.type) for f in kind.fields}
    if isinstance(kind, inspect.ListType):
        return [_structure(kind.item_type)]
    if isinstance(kind, inspect.TupleType):
        return [_structure(kind.item_types[0])]
    if isinstance(kind, inspect.DictType):
        return f"MAP({_named(_structure(kind.key_type))}, {_named(_structure(kind.value_type))})"
    return _DUCKDB[type(kind)]


def _named(structure: Any) -> str:
    """The name of a type in SQL; a map has its types by name."""
    return f"{_named(structure[0])}[]" if isinstance(structure, list) else str(structure)


def _found(column: Column) -> str:
    return column.sql or f'm."{column.name}"'


def insert(name: str, table: Table) -> str:
    """The INSERT of one table, from one text of a JSON object a line.

    To bind a list of texts was measured to cost ten times as much, and one JSON array of all the objects four times.
    """
    taken = ", ".join(_found(column) for column in table.columns)
    lines = "select unnest(string_split($rows, chr(10))) as line"
    return f"insert into {name} select {taken} from (select unnest(from_json(line, $form)) from ({lines}))"


INSERTS: dict[str, tuple[str, str]] = {
    **{f"history.{t.name}": (insert(f"history.{t.name}", t), form(t.kind)) for t in TABLES},
    "main.dead": (insert("main.dead", DEAD), form(DEAD.kind)),
}
"""By table: its INSERT, and the structure of its messages."""

_KEY = Count._fields
_SUMS = ("messages", "bytes", "frames")
COUNT_FORM = json.dumps([{column.name: column.type for column in COUNTS} | {"at": "BIGINT"}])
COUNT = f"""
merge into history.counts c using (select unnest(from_json($rows, $form), recursive := true)) b
on {" and ".join(f"c.{name} = b.{name}" for name in _KEY)}
when matched then update set {", ".join(f"{name} = c.{name} + b.{name}" for name in _SUMS)},
  "at" = greatest(c."at", make_timestamp(b."at"))
when not matched then insert values ({", ".join(f"b.{name}" for name in (*_KEY, *_SUMS))}, make_timestamp(b."at"))
"""
"""Adds a batch's counts to those that are there."""


def json_lines(rows: Sequence[Row]) -> str:
    """Rows as JSON, one a line."""
    return _encode_lines(rows).rstrip(b"\n").decode()


def count_rows(counts: dict[Count, list[int]]) -> str:
    """The counts of a batch as JSON."""
    return msgspec.json.encode(
        [what._asdict() | dict(zip((*_SUMS, "at"), sums, strict=True)) for what, sums in counts.items()]
    ).decode()
