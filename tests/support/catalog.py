"""A catalog of its own for a test: streams with messages in them, and the service as a process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from lodestream.catalog import Ways, ask, sql
from lodestream.flow.model import Deployed, DeployedNode
from lodestream.flow.model import encode as encode_flow
from lodestream.streams import ensure_stream, ensure_streams
from proto import ids, keys, subjects
from proto.messages import Candidate, Media, Message, Rejected, Shard, encode

Output = tuple[str, str, str, Message]
"""Node type, node, port, and the message on it."""
FETCHED, CUT = "aaaaaaaa", "bbbbbbbb"
"""The recipes of a flow's nodes `get` and `frames`."""


def deployed(flow: str, cut: str = CUT) -> Deployed:
    """A flow of seeds, find, get and frames; `cut` is the recipe that frames carry today."""
    made = {
        "seeds": ("intake", {subjects.seeds(flow): [""]}, ""),
        "find": ("discover", {subjects.wire(flow, "intake", "seeds", "seed"): [""]}, ""),
        "get": ("fetch", {subjects.wire(flow, "discover", "find", "candidate"): [""]}, FETCHED),
        "frames": ("extract", {subjects.wire(flow, "fetch", "get", "media"): [FETCHED]}, cut),
    }
    nodes = {
        name: DeployedNode(type=kind, slot=int(name != "seeds"), since="", wires=wires, recipes=[recipe])
        for name, (kind, wires, recipe) in made.items()
    }
    return Deployed(flow=flow, text="", at="", nodes=nodes)


def video(number: int, frames: int = 10, *, source: str = "example.org", cut: str = CUT) -> list[Output]:
    """What a flow gives of one video: node type, node, port, message; every tenth video is refused."""
    ident = f"example-{number:06d}"
    candidate = Candidate(
        id=ident, url=f"https://{source}/{number}", source=source, seed="seed-1", title=f"Video {number}"
    )
    found: list[Output] = [("discover", "find", "candidate", candidate)]
    if number % 10 == 9:
        return [
            *found,
            (
                "fetch",
                "get",
                "rejected",
                Rejected(id=ident, recipe=FETCHED, reason="gone", detail="404", source=source),
            ),
        ]
    return [
        *found,
        ("fetch", "get", "media", media(ident, source)),
        ("extract", "frames", "shard", shard(ident, source, frames, cut)),
    ]


def media(ident: str, source: str = "example.org", *, damage: str = "") -> Media:
    """A video of 1000 bytes."""
    return Media(
        id=ident,
        recipe=FETCHED,
        url=f"https://{source}/{ident}",
        source=source,
        sha256="0" * 64,
        bytes=1000,
        container="mp4",
        codec="h264",
        width=1280,
        height=720,
        fps=29.97,
        duration_s=10.5,
        damage=damage,
        object_key=keys.media(ident, FETCHED, "0" * 64, "mp4"),
    )


def shard(ident: str, source: str = "example.org", frames: int = 10, cut: str = CUT) -> Shard:
    """Frames a second apart, each of 40,000 bytes."""
    name = ids.shard_id(ident, 0)
    return Shard(
        id=name,
        recipe=cut,
        media_id=ident,
        source=source,
        object_key=keys.shard(cut, ident, name, "0" * 64),
        index=0,
        width=1280,
        height=720,
        time_ms=[1000 * k for k in range(frames)],
        offset=[512 + 41_000 * k for k in range(frames)],
        length=[40_000] * frames,
        sampler="every 1s",
    )


@dataclass
class Stage:
    """A server, a client with every right, and the service."""

    url: str
    nc: Client
    root: Path
    process: subprocess.Popen[bytes] | None = None
    env: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The catalog's folder."""
        return self.root / "catalog"

    @property
    def ways(self) -> Ways:
        """Every way to the catalog."""
        return Ways(self.nc, self.folder)

    def start(self) -> None:
        """Start the service's process."""
        env = {
            **os.environ,
            "LODE_NATS_URL": self.url,
            "LODE_OBJECTS": (self.root / "objects").as_uri(),
            "LODE_WORK": str(self.root / "work"),
            "LODE_CATALOG": str(self.folder),
            "LODE_QUACK_PORT": "0",
            **self.env,
        }
        with (self.root / "service.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "services.catalog"], env=env, stderr=log)

    def kill(self) -> None:
        """Kill it with -9."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; its exit status."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()

    def log(self) -> str:
        """What it has said."""
        return (self.root / "service.log").read_text()

    async def deploy(self, flow: Deployed) -> None:
        """Make the flow's stream and its record."""
        once = {"max_msgs_per_subject": 1, "discard": "new", "discard_new_per_subject": True, "allow_direct": True}
        await ensure_stream(
            self.nc, {"name": subjects.stream(flow.flow), "subjects": [subjects.everything(flow.flow)], **once}
        )
        await self.nc.request(subjects.flow_key(flow.flow), encode_flow(flow))

    async def publish(self, flow: str, outputs: Iterable[Output]) -> None:
        """Publish what nodes give."""
        for kind, node, port, message in outputs:
            entity = ids.entity(message.id, message.recipe)
            await self.nc.publish(subjects.output(flow, kind, node, port, entity), encode(message))
        await self.nc.flush()

    async def ask(self, query: str) -> list[list[Any]]:
        """The rows of a query, from the service."""
        return (await sql(query, Ways(self.nc))).rows

    async def settled(self) -> dict[str, Any]:
        """The service's status, once everything that was published is in the tables."""
        deadline = time.monotonic() + 60
        while True:
            status = await self._status()
            if status and status["lag"] == 0:
                return status
            assert time.monotonic() < deadline, self.log()
            await asyncio.sleep(0.05)

    async def _status(self) -> dict[str, Any] | None:
        import nats.errors

        try:
            return dict(await ask(self.nc, subjects.CATALOG_STATUS, seconds=0))
        except nats.errors.NoRespondersError:
            assert self.process is None or self.process.poll() is None, self.log()
            return None


@asynccontextmanager
async def stage(url: str, root: Path) -> AsyncIterator[Stage]:
    """The basic streams, a client, and a service that is not started yet."""
    import nats

    nc = await nats.connect(url, reconnect_time_wait=0.1, max_reconnect_attempts=-1)
    await ensure_streams(nc)
    made = Stage(url, nc, root)
    try:
        yield made
    finally:
        if made.process and made.process.poll() is None:
            made.stop()
        await nc.close()
