"""What runs, as the supervisor writes it down for `lode status`."""

import contextlib
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from lodestream.errors import LodeError
from lodestream.local.home import VARIABLE, Home, write_whole
from lodestream.local.lock import holder

PATIENCE = 5.0
"""Seconds that a killed process may take to be gone."""


ProcessState = Literal["waiting", "running", "stopped"]
"""`waiting`: not started yet, or it ended by itself and is started again after a pause."""


class Process(msgspec.Struct, kw_only=True):
    """One supervised process."""

    name: str
    state: ProcessState = "waiting"
    pid: int | None = None
    since: str = ""
    """When it came into this state, ISO 8601."""
    restarts: int = 0
    last_exit: str = ""
    """How it last ended by itself: `status 1`, `SIGKILL`."""


class State(msgspec.Struct, kw_only=True):
    """A running instance."""

    pid: int
    """Of the supervisor."""
    since: str
    nats_url: str = ""
    ready: bool = False
    processes: list[Process] = []


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_state(home: Home, state: State) -> None:
    """Write it down; a disk that is full does not stop the supervisor."""
    with contextlib.suppress(OSError):
        write_whole(_file(home), msgspec.json.encode(state))


def read_state(home: Home) -> State | None:
    """What runs; None where nothing does."""
    if (pid := holder(home)) is None:
        return None
    state = _last_state(home)
    return state if state and state.pid == pid else State(pid=pid, since=now())


def end_leftovers(home: Home) -> None:
    """Kill what a killed supervisor left: two servers must never share one store. Raises LodeError where it stays."""
    state = _last_state(home)
    left = [p.pid for p in state.processes if p.pid and _belongs(p.pid, home)] if state else []
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while any(_belongs(pid, home) for pid in left):
        if time.monotonic() > deadline:
            raise LodeError(f"processes of an earlier start will not end: {left}; kill them, then: lode up")
        time.sleep(0.02)


def _last_state(home: Home) -> State | None:
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=State)
    except (OSError, msgspec.MsgspecError):
        return None


def _belongs(pid: int, home: Home) -> bool:
    """Whether that process is one of this home's: an id is used again by others."""
    try:
        return f"{VARIABLE}={home.root}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _file(home: Home) -> Path:
    return home.run / "state.json"
