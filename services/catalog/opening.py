"""Opening the database: patient with a reader that holds it, and not stopped by a broken file."""

import asyncio
from pathlib import Path

import duckdb
import structlog

from lodestream.catalog.query import first_line
from lodestream.errors import LodeError
from services.catalog.store import Store

log = structlog.get_logger()

HELD = "Could not set lock"
PAUSE = 1.0
"""Seconds between tries while another process holds the file."""
BROKEN = ("not a valid DuckDB", "orrupt", "checksum", "replaying WAL", "version number", "deserialize", "invalidated")
"""What DuckDB says of a file that will never open; everything in it can be read from the streams again."""


async def open_store(file: Path) -> Store:
    """The tables, as soon as nobody else holds them. Raises LodeError where the folder is not usable."""
    said = ""
    while True:
        try:
            return await asyncio.to_thread(Store, file)
        except duckdb.Error as error:
            why = first_line(error)
            if HELD in why:
                if why != said:
                    log.warning("waiting for the catalog's file", why=why)
                said = why
                await asyncio.sleep(PAUSE)
            elif any(mark in why for mark in BROKEN):
                _set_aside(file, why)
            else:
                raise LodeError(f"cannot open the catalog: {why}") from None


def _set_aside(file: Path, why: str) -> None:
    log.error("the catalog's file is broken; it is set aside, and made anew from the streams", why=why)
    for part in (file, file.with_name(file.name + ".wal")):
        if part.exists():
            part.replace(part.with_name(part.name + ".broken"))
