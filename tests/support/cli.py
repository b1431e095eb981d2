"""A real nats-server on a free loopback port, and the streams that dead letters need."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig

from lodestream.bus import connect
from proto import subjects


def program() -> str:
    """The nats-server of this venv, or of PATH; a skip on a laptop without one, a failure in CI."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no nats-server")
    return found


@asynccontextmanager
async def nats_server(folder: Path) -> AsyncIterator[str]:
    """The URL of a server that keeps its store in `folder`; killed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", str(folder), "--ports_file_dir", str(folder)]
    server = await asyncio.create_subprocess_exec(program(), *arguments, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield await _url(folder, server)
    finally:
        server.kill()
        await server.wait()


async def _url(folder: Path, server: asyncio.subprocess.Process) -> str:
    for _ in range(200):
        if server.returncode is not None:
            raise RuntimeError("nats-server ended at start")
        for file in folder.glob("*.ports"):
            if text := file.read_text():
                return str(json.loads(text)["nats"][0])
        await asyncio.sleep(0.05)
    raise RuntimeError("nats-server wrote no ports file")


@asynccontextmanager
async def jetstream(url: str) -> AsyncIterator[JetStreamContext]:
    """A JetStream context on `url`."""
    bus = await connect(url, patience=5)
    try:
        yield bus.nc.jetstream()
    finally:
        await bus.close()


async def make_streams(js: JetStreamContext, flow: str) -> None:
    """Streams SEEDS, DEAD and the flow's, as an instance has them."""
    await js.add_stream(StreamConfig(name=subjects.SEEDS, subjects=[subjects.seeds("*")]))
    await js.add_stream(StreamConfig(name=subjects.DEAD, subjects=["dead.>"], max_msgs_per_subject=1))
    await js.add_stream(
        StreamConfig(
            name=subjects.stream(flow),
            subjects=[subjects.everything(flow)],
            max_msgs_per_subject=1,
            discard=DiscardPolicy.NEW,
            discard_new_per_subject=True,
            allow_direct=True,
        )
    )
