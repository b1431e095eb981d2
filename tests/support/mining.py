"""A small instance that really mines: a site with counted hits, worker processes, a house that is kept, a store."""

import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from lodestream.bus import Bus, connect
from lodestream.deadletters import Dead, unresolved
from lodestream.demo.clips import Clip
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.flow.removal import remove
from lodestream.flow.store import load_deployed
from lodestream.flows import deployed_flows
from lodestream.housekeeping import keep_house
from lodestream.objects import Objects, open_objects
from lodestream.process import NATS_URL, OBJECTS, WORK
from lodestream.streams import ensure_streams
from proto import subjects
from proto.messages import Media, Message, Shard, decode_any
from tests.support.engine import eventually
from tests.support.servers import start_nats

DAMAGES = ("deleted", "emptied", "truncated", "swapped", "swapped at the same size")
TYPES = ("intake", "discover", "fetch", "extract")
PATIENCE = 60.0
"""Seconds until a thing that must come has come."""
CLIP = Clip("mining", seconds=4, fps=10, width=64, height=48)
FLOW = """
flow: {name}
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, allow_hosts: ["{host}"]}}
  get:    {{type: fetch, from: find, allow_hosts: ["{host}"], per_host: 8, {fetch}}}
  frames: {{type: extract, from: get, {extract}}}
"""


def clip(name: str) -> bytes:
    """A video of four seconds; other bytes for each name."""
    tail = name.encode()
    return CLIP.encode() + (8 + len(tail)).to_bytes(4, "big") + b"free" + tail


@dataclass
class Mining:
    """What a test works with."""

    bus: Bus
    objects: Objects
    url: str
    folder: Path
    said: list[str] = field(default_factory=list)
    """What housekeeping said."""
    files: dict[str, bytes] = field(default_factory=dict)
    """The site, by path."""
    hits: Counter[str] = field(default_factory=Counter)
    host: str = ""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    async def deploy(
        self, name: str, extract: str = "every: 1s", fetch: str = "max_height: 720", more: str = ""
    ) -> None:
        """Put a flow to work, with these settings of its nodes; `more` are lines of further nodes."""
        flow, problems = lint(FLOW.format(name=name, host=self.host, extract=extract, fetch=fetch) + more)
        assert flow, problems
        await deploy(self.bus.nc, flow)

    async def damage(self, key: str, how: str) -> None:
        """Do to an object what a hand can do."""
        data = await self.objects.get(key)
        if how == "deleted":
            await self.objects.delete(key)
            return
        other = {"emptied": b"", "truncated": data[: len(data) // 2], "swapped": b"something else" + data}
        await self.objects.put(key, other.get(how, data[:-1] + bytes([data[-1] ^ 1])))

    async def seed(self, flow: str, *paths: str) -> None:
        """Publish URLs of the site."""
        for path in paths:
            await self.bus.nc.publish(subjects.seeds(flow), f"http://{self.host}{path}".encode())
        await self.bus.nc.flush()

    async def mine(self, flow: str, *paths: str) -> None:
        """Publish URLs and wait until all is done."""
        before = (await self.bus.nc.jetstream().stream_info(subjects.SEEDS)).state.last_seq
        await self.seed(flow, *paths)
        await self.quiet(flow, before + len(paths))

    async def quiet(self, flow: str, seeds: int = 0) -> None:
        """Wait until nothing is left to do; `seeds` is the last sequence of the stream of seeds by then."""
        js = self.bus.nc.jetstream()

        async def done() -> bool:
            if (await js.stream_info(subjects.SEEDS)).state.last_seq < seeds:
                return False
            record = await load_deployed(self.bus.nc, flow)
            infos = [await js.consumer_info(c.stream, c.durable) for c in record.consumers()]
            return not any(info.num_pending or info.num_ack_pending for info in infos)

        for _ in range(3):  # work moves between nodes while it is looked for
            await eventually(done, PATIENCE)

    async def outputs(self, flow: str, kind: type[Message]) -> list[Message]:
        """The messages of one kind in a flow."""
        js, stream = self.bus.nc.jetstream(), subjects.stream(flow)
        found = (await js.stream_info(stream, subjects_filter=subjects.everything(flow))).state.subjects or {}
        messages = [decode_any((await js.get_last_msg(stream, s)).data or b"") for s in sorted(found)]
        return [message for message in messages if isinstance(message, kind)]

    async def media(self, flow: str) -> list[Media]:
        """The videos of a flow."""
        return await self.outputs(flow, Media)  # type: ignore[return-value]

    async def shards(self, flow: str) -> list[Shard]:
        """The shards of a flow."""
        return await self.outputs(flow, Shard)  # type: ignore[return-value]

    async def letters(self) -> list[Dead]:
        """Dead letters that are not resolved."""
        return await unresolved(self.bus.nc.jetstream())

    async def bytes_of(self, key: str) -> bytes | None:
        """What an object holds."""
        try:
            return await self.objects.get(key)
        except KeyError:
            return None

    async def whole(self, message: Media | Shard) -> bool:
        """Whether the object of a message is what the message says."""
        data = await self.bytes_of(message.object_key)
        return data is not None and (len(data), hashlib.sha256(data).hexdigest()) == (message.bytes, message.sha256)

    async def until_whole(self, *messages: Media | Shard) -> None:
        """Wait until all objects are what their messages say."""

        async def done() -> bool:
            return all([await self.whole(message) for message in messages])

        await eventually(done, PATIENCE)

    async def keys(self, prefix: str) -> list[str]:
        """What is stored."""
        return [stat.key async for stat in self.objects.list(prefix)]

    def start(self, *more: str, **env: str) -> None:
        """Start a worker of each type, and of `more`, as processes; `env` goes into their environment."""
        for kind in (*TYPES, *more):
            self.start_one(kind, **env)

    def start_one(self, kind: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a worker of a type, as a process."""
        env = os.environ | env | {NATS_URL: self.bus.nc.connected_url.geturl(), OBJECTS: self.url}
        env[WORK] = str(self.folder / "work")
        with (self.folder / f"{kind}.log").open("ab") as log:
            self.workers.append(
                subprocess.Popen([sys.executable, "-m", "lodestream.worker", kind], env=env, stderr=log)
            )
        return self.workers[-1]

    def kill(self) -> None:
        """Kill every worker with -9."""
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.workers.clear()

    async def forget(self) -> None:
        """Remove every flow with its dead letters, and go on as if nothing had been asked for, said or logged yet."""
        for flow in await deployed_flows(self.bus):
            await remove(self.bus.nc, flow, purge=True)
        self.hits.clear()
        self.said.clear()
        for file in self.folder.glob("*.log"):
            os.truncate(file, 0)

    def logged(self) -> str:
        """What the workers have logged."""
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))


@asynccontextmanager
async def mining(folder: Path, url: str) -> AsyncIterator[Mining]:
    """An instance over the object store at `url`; its workers are not started yet."""
    with start_nats(folder) as server:
        bus = await connect(server.url, patience=20)
        await ensure_streams(bus.nc)
        made = Mining(bus, open_objects(url, folder), url, folder)
        house = asyncio.create_task(keep_house(bus, made.objects, made.said.append))
        try:
            async with _site(made):
                yield made
        finally:
            made.kill()
            house.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await house
            await bus.close()


@asynccontextmanager
async def _site(made: Mining) -> AsyncIterator[None]:
    async def serve(request: web.Request) -> web.Response:
        if (data := made.files.get(request.path)) is None:
            return web.Response(status=404)
        made.hits[request.path] += 1
        return web.Response(body=data, content_type="video/mp4")

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.host = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()
