"""Stands where extract's child stands, and does what a decoder does on its worst days; the job's url says which."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from services.extract import child


def run(job: dict[str, Any], folder: str, emit: Callable[..., None]) -> None:
    """Extracts as usual, then crashes, is killed, hangs, or runs out of memory or disk."""
    how = job["url"]
    if how.startswith("late"):
        child.extract(msgspec.convert(job, child.Task), Path(folder), emit)
    if how.endswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if how.endswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if how.endswith("hang"):
        time.sleep(60)
    if how.endswith("memory"):
        raise MemoryError
    if how.endswith("disk"):
        raise OSError(28, "No space left on device")
