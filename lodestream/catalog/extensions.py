"""DuckDB's extensions, from their wheels: nothing is installed or downloaded."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from lodestream.errors import LodeError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


NAMES = ("httpfs", "quack")
"""`quack` lets DuckDB processes talk, and needs `httpfs`; loaded in this order."""


def extension(name: str) -> Traversable:
    """The file of an extension, of DuckDB's own version. Raises ModuleNotFoundError where its wheel is missing."""
    import duckdb

    return files(f"duckdb_extension_{name}") / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"


def load_quack(connection: "DuckDBPyConnection") -> None:
    """Load what a DuckDB needs to talk to another. Raises LodeError."""
    import duckdb

    for name in NAMES:
        try:
            connection.execute(f"load '{extension(name)}'")
        except (ModuleNotFoundError, duckdb.Error) as error:
            wanted = f"duckdb-extension-{name}=={duckdb.__version__}"
            raise LodeError(f"cannot load DuckDB's extension {name}: install {wanted} ({error})") from None
