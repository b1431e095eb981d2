"""How a process of the catalog is bounded, and how it ends."""

import os
import resource
from typing import NoReturn

import duckdb
import structlog

from lodestream.catalog import gate

log = structlog.get_logger()

DATA = (1 << 30) + (3 << 29)
"""DuckDB's own limit of 1 GB, and room for stacks: it does not count one huge value such as `repeat('x', 10^10)`."""
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    **gate.CONFIG,
    "memory_limit": "1GB",
    "threads": 2,
    "allocator_background_threads": True,
}
"""Every DuckDB of the service: what a query took is given back to the system within seconds."""
AGAIN = 75
"""Exit status that asks to be started again."""
BROKEN = (duckdb.FatalException, duckdb.InternalException)
"""Errors after which DuckDB answers nothing more in this process."""


def give_up(why: str) -> NoReturn:
    """End this process at once: it starts again in a second, from its watermark, and nothing is lost."""
    log.error("starting again", why=why)
    os._exit(AGAIN)


def bound_memory() -> None:
    """Let what is too large fail as a clean error of one query."""
    resource.setrlimit(resource.RLIMIT_DATA, (DATA, DATA))
