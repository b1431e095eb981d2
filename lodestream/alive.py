"""A file that is touched for as long as a process does its work: what a container's health check looks at."""

import asyncio
import contextlib
from pathlib import Path

ALIVE = "alive"
EVERY = 10.0
"""Seconds between touches."""


async def show_alive(folder: Path) -> None:
    """Touch ALIVE in a folder until cancelled; a disk that is full is no sign of death."""
    file = folder / ALIVE
    while True:
        with contextlib.suppress(OSError):
            file.touch()
        await asyncio.sleep(EVERY)
