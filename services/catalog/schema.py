"""The DuckDB schema: `history` holds every row, `main` is what people query; each table and column says what it is."""

from duckdb import DuckDBPyConnection

from proto import ids
from services.catalog.relations import Column
from services.catalog.tables import DEAD, TABLES
from services.catalog.views import VIEWS

COUNTS = (
    Column("flow", "VARCHAR", "flow"),
    Column("node", "VARCHAR", "node of the flow"),
    Column("node_type", "VARCHAR", "type of that node"),
    Column("port", "VARCHAR", "port of that node"),
    Column("kind", "VARCHAR", "type of the messages"),
    Column("recipe", "VARCHAR", "digest of all that made them; empty where no setting can change them"),
    Column("source", "VARCHAR", "site that they come from"),
    Column("reason", "VARCHAR", "why they were refused; empty where they were not"),
    Column("messages", "BIGINT", "how many"),
    Column("bytes", "BIGINT", "bytes of the videos that they announce"),
    Column("frames", "BIGINT", "frames that they announce"),
    Column("at", "TIMESTAMP", "when the stream stored the last of them, UTC"),
)
WATERMARK = (
    Column("stream", "VARCHAR", "stream"),
    Column("created", "VARCHAR", "when that stream was made: one of the same name made later is another"),
    Column("seq", "BIGINT", "the last message of it that is in these tables"),
    Column("at", "TIMESTAMP", "when the stream stored that message, UTC"),
)
FORGOTTEN = (
    Column("flow", "VARCHAR", "flow"),
    Column("messages", "BIGINT", "how many messages of its stream were erased"),
    Column("seq", "BIGINT", "sequence of the notice of it in that stream"),
    Column("at", "TIMESTAMP", "when that was, UTC"),
)
FLOW_NODES = (
    Column("flow", "VARCHAR", "deployed flow"),
    Column("node", "VARCHAR", "node of the flow"),
    Column("node_type", "VARCHAR", "type of that node"),
    Column("place", "BIGINT", "place in the flow's file, from 0"),
    Column("paused", "BOOLEAN", "whether it is paused"),
    Column("recipes", "VARCHAR[]", "recipes that its outputs carry today"),
    Column("settings", "JSON", "its settings, as the flow's file gives them"),
)
FLOW_WIRES = (
    Column("flow", "VARCHAR", "deployed flow"),
    Column("node", "VARCHAR", "node that is fed"),
    Column("upstream", "VARCHAR", "node that feeds it"),
    Column("port", "VARCHAR", "port of that node"),
    Column("recipes", "VARCHAR[]", "recipes that messages on this wire carry today"),
)
STORED: dict[str, tuple[str, tuple[Column, ...]]] = {
    **{
        f"history.{t.name}": (f"{t.says} Every recipe: `main.{t.name}` has the current ones.", t.columns)
        for t in TABLES
    },
    "history.counts": (
        "Outputs counted by all that one asks about; kept with the rows, so it is never behind.",
        COUNTS,
    ),
    "history.version": ("Which schema this file has.", (Column("digest", "VARCHAR", "digest of the schema"),)),
    "main.dead": (DEAD.says, DEAD.columns),
    "main.forgotten": ("What was forgotten: how much and when, not what it was.", FORGOTTEN),
    "main.watermark": ("How far each stream has been read; written in one transaction with the rows.", WATERMARK),
    "main.flow_nodes": ("The nodes of the deployed flows, as they are today.", FLOW_NODES),
    "main.flow_wires": ("What feeds what in the deployed flows, as they are today.", FLOW_WIRES),
}
"""Every stored table by name: what it says, and its columns."""


OF_FLOWS = ("history.counts", "main.forgotten", *(f"history.{table.name}" for table in TABLES))
"""Tables whose rows come from the streams of flows."""


def create(connection: DuckDBPyConnection) -> None:
    """Make every table and view, empty, and say of each column what it is."""
    for statement in _tables_and_views():
        connection.execute(statement)
    connection.execute("insert into history.version values (?)", [version()])
    for statement in _comments(_columns(connection)):
        connection.execute(statement)


def version() -> str:
    """A digest of the schema: a file that was made by another is made anew."""
    return ids.digest("\n".join(_tables_and_views()).encode(), 8)


def _tables_and_views() -> list[str]:
    made = ["create schema if not exists history"]
    for name, (_, columns) in STORED.items():
        fields = ", ".join(f'"{c.name}" {c.type}' for c in columns)
        made.append(f"create table {name} ({fields})")
    return made + [f"create view {view.name} as {view.sql}" for view in VIEWS]


def _columns(connection: DuckDBPyConnection) -> list[tuple[str, str]]:
    """Every relation's name with one of its columns' names."""
    found = "select schema_name || '.' || table_name, column_name from duckdb_columns() where not internal"
    return connection.execute(found).fetchall()


def _comments(columns: list[tuple[str, str]]) -> list[str]:
    """Views say of a column what the first table that has it says of it, unless they mean something else."""
    meaning = {column.name: column.says for _, stored in reversed(STORED.values()) for column in stored}
    own = {(name, c.name): c.says for name, (_, stored) in STORED.items() for c in stored}
    own |= {(f"main.{table.name}", c.name): c.says for table in TABLES for c in table.columns}
    own |= {(view.name, column): says for view in VIEWS for column, says in view.columns.items()}
    made = [f"comment on table {name} is {_quoted(says)}" for name, (says, _) in STORED.items()]
    made += [f"comment on view {view.name} is {_quoted(view.says)}" for view in VIEWS]
    for relation, column in columns:
        says = own.get((relation, column)) or meaning[column]
        made.append(f'comment on column {relation}."{column}" is {_quoted(says)}')
    return made


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
