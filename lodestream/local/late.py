"""Programs that an instance is ready without: started after everything else, once what they need is there."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from lodestream.local.child import Program

LOOK_EVERY = 2.0
"""Seconds between looks: it may be installed while the instance runs."""


async def start_late(table: Sequence[Program], start: Callable[[Program], object]) -> None:
    """Start each program of the table that needs a file when that is there, and not before."""
    late = [program for program in table if program.needs]
    while late:
        for program in [program for program in late if Path(program.needs).exists()]:
            late.remove(program)
            start(program)
        await asyncio.sleep(LOOK_EVERY)
