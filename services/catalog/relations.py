"""What a table and a view of the catalog are, and the columns that all tables of outputs have."""

from typing import NamedTuple

from proto.messages import Message


class Column(NamedTuple):
    """One column. `sql` finds it in the message `m`; where empty, it is the message's field of the same name."""

    name: str
    type: str
    says: str
    sql: str = ""


class Table(NamedTuple):
    """One table of the messages of one kind."""

    name: str
    kind: type[Message]
    says: str
    columns: tuple[Column, ...]
    counted: str = ""
    """Its column that says how many frames a message announces; empty where it announces none."""


class View(NamedTuple):
    """A view; `columns` says what its columns mean where no table that it reads does."""

    name: str
    says: str
    sql: str
    columns: dict[str, str]


def text(name: str, says: str, sql: str = "") -> Column:
    """A column of text."""
    return Column(name, "VARCHAR", says, sql)


def number(name: str, says: str, sql: str = "") -> Column:
    """A column of whole numbers."""
    return Column(name, "BIGINT", says, sql)


def real(name: str, says: str) -> Column:
    """A column of numbers."""
    return Column(name, "DOUBLE", says)


def labels() -> Column:
    """The column of labels."""
    return Column("labels", "MAP(VARCHAR, VARCHAR)", "what the seed's publisher noted on it")


def own_id(name: str, says: str) -> Column:
    """The column of the id of what the message is about."""
    return text(name, says, "m.id")


MADE_BY = (
    text("flow", "flow", "split_part(subject, '.', 2)"),
    text("node", "node of the flow that said it", "split_part(subject, '.', 4)"),
)
PROVENANCE = (
    text("node_type", "type of that node", "split_part(subject, '.', 3)"),
    text("port", "port of that node", "split_part(subject, '.', 5)"),
    text("recipe", "digest of all that made it; empty where no setting can change it"),
    text("cause", "subject of the message that it was made from"),
    number("seq", "sequence in the flow's stream", "seq"),
    Column("at", "TIMESTAMP", "when the stream stored it, UTC", 'make_timestamp("at")'),
)


def outputs(name: str, kind: type[Message], says: str, *own: Column, counted: str = "") -> Table:
    """A table of what nodes give: who made it, its own columns, how it came here."""
    return Table(name, kind, says, (*MADE_BY, *own, *PROVENANCE), counted)
