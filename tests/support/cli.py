"""For tests of the command line: commands run as a person runs them, and a server with every stream."""

import contextlib
import io
import os
import select
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from lodestream.bus import Bus, connect
from lodestream.cli import entry
from lodestream.streams import BASE, ensure_stream, ensure_streams
from proto import subjects
from tests.support.servers import start_nats


@asynccontextmanager
async def bus_with_streams(folder: Path, flow: str) -> AsyncIterator[Bus]:
    """A connection to a server of its own, which has every stream; nothing is deployed."""
    with start_nats(folder) as server:
        bus = await connect(server.url, patience=5)
        await ensure_streams(bus.nc)
        await ensure_stream(bus.nc, BASE | flow_stream(flow))
        yield bus
        await bus.close()


def flow_stream(flow: str) -> dict[str, object]:
    """The configuration of a flow's stream: each identity is stored once."""
    once = {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": True, "allow_direct": True}
    return {"name": subjects.stream(flow), "subjects": [subjects.everything(flow)], **once}


class Ended(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


def run_lode(home: Path, *arguments: str, status: int = 0, stdin: str = "", **environment: str) -> Ended:
    """Run `lode` in this process, with `home`; what it prints goes into pipes, so to say. It must end with `status`."""
    ended, said = run_lode_anyhow(home, *arguments, stdin=stdin, **environment)
    assert ended == status, f"lode {' '.join(arguments)}: {ended}\n{said.stdout}{said.stderr}"
    return said


def run_lode_anyhow(home: Path, *arguments: str, stdin: str = "", **environment: str) -> tuple[object, Ended]:
    """As `run_lode`, however it ends: its exit status, and what it printed."""
    out, given = (io.TextIOWrapper(io.BytesIO(text)) for text in (b"", stdin.encode()))
    err = io.TextIOWrapper(io.BytesIO(), errors="backslashreplace")
    with (
        mock.patch.dict(os.environ, {"LODE_HOME": str(home), **environment}),
        mock.patch.object(sys, "stdin", given),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            ended: object = entry.run(list(arguments))
        except SystemExit as left:
            ended = left.code
    return ended, Ended(_printed(out), _printed(err))


def _printed(file: io.TextIOWrapper) -> str:
    file.seek(0)
    return file.read()


def read_terminal(terminal: int, enough: Callable[[bytes], bool]) -> bytes:
    """What a terminal shows until it is enough, or closed."""
    seen, deadline = b"", time.monotonic() + 30
    while not enough(seen) and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            try:
                seen += os.read(terminal, 65_536)
            except OSError:
                break
    return seen
