"""Starting and stopping an instance from another process."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from lodestream.errors import LodeError
from lodestream.local.child import Program
from lodestream.local.home import VARIABLE, Home
from lodestream.local.kinship import die_with
from lodestream.local.lock import holder
from lodestream.local.state import State, read_state
from lodestream.local.supervisor import GRACE, Ready, supervise
from lodestream.local.table import process_table
from lodestream.rights import OPERATOR

READY = b"ready\n"
"""What a supervisor in the background says; anything else is why it does not run."""
LOOK_EVERY = 0.05


class Connection(NamedTuple):
    """How to reach an instance's NATS server."""

    url: str
    user: str
    password: str


def up(
    home: Home,
    *,
    detach: bool = False,
    bound: bool = False,
    counts: Mapping[str, int] | None = None,
    autoscale: bool = False,
    table: list[Program] | None = None,
    on_ready: Ready | None = None,
) -> None:
    """Run an instance until it is stopped; with `detach`, return once it is ready and leave it running.

    `bound`: what is detached is stopped all the same when the calling thread ends, however that ends. `counts` is how
    many workers of a type; with `autoscale` there are more while much waits; `table` replaces the process table.
    Raises LodeError.
    """
    programs = process_table(counts, autoscale=autoscale) if table is None else table
    if not detach:
        supervise(home, programs, on_ready)
        return
    _start_in_background(home, programs, bound)
    if on_ready and (state := read_state(home)):
        on_ready(state)


def down(home: Home) -> bool:
    """Stop an instance and wait until all of it has ended; False where none ran. Raises LodeError."""
    if (pid := holder(home)) is None:
        return False
    _signal(pid, 15)
    deadline = time.monotonic() + 2 * GRACE + 5
    while holder(home) == pid:
        if time.monotonic() > deadline:
            _signal(pid, 9)  # its processes die with it
        time.sleep(LOOK_EVERY)
    return True


def is_up(home: Home) -> State | None:
    """What runs, once all of it has answered; None where nothing does."""
    state = read_state(home)
    return state if state and state.ready else None


def connection(home: Home, user: str = OPERATOR) -> Connection:
    """How `user` reaches the instance. Raises LodeError where there is none."""
    return Connection(home.nats_url(), user, home.password(user))


def _start_in_background(home: Home, programs: list[Program], bound: bool) -> None:
    """Raises LodeError with what the supervisor said instead of being ready."""
    environment = {**os.environ, VARIABLE: str(home.root), "PYTHONPATH": _absolute(os.environ.get("PYTHONPATH", ""))}
    starting = subprocess.Popen(
        [sys.executable, "-P", "-m", "lodestream.local"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd="/",
        env=environment,
        preexec_fn=partial(die_with, os.getpid(), signal.SIGTERM) if bound else None,
    )
    said = b""
    assert starting.stdin
    assert starting.stdout
    try:
        with starting.stdin, starting.stdout:
            starting.stdin.write(msgspec.json.encode(programs))
            starting.stdin.close()
            for line in starting.stdout:
                if line == READY:
                    return
                said += line
    except KeyboardInterrupt:
        starting.terminate()
        raise
    raise LodeError(said.decode(errors="replace").strip() or "the supervisor ended without a word")


def _absolute(search_path: str) -> str:
    return os.pathsep.join(str(Path(part).absolute()) for part in search_path.split(os.pathsep) if part)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError:
        raise LodeError(f"the instance (pid {pid}) belongs to another user") from None
