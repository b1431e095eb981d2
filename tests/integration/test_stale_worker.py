"""Two worker processes want one video: one that is killed, or stopped and woken too late, spoils nothing."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from lodestream.bus import Bus, Publisher, connect
from lodestream.census import tallies
from lodestream.flow import consumers
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.memo import Manifest
from lodestream.objects import open_objects
from lodestream.process import NATS_URL, OBJECTS, WORK
from lodestream.streams import BASE, SECOND, STREAMS, ensure_stream, ensure_streams
from proto import keys, subjects
from proto.messages import Media, decode_any, encode
from tests.support.engine import eventually
from tests.support.hasty_worker import ACK_WAIT_S, LEASE_S
from tests.support.hosts import Host, hosts, video
from tests.support.servers import start_nats

FLOW = """
flow: t
nodes:
  seeds: {{type: intake}}
  find:  {{type: discover, from: seeds}}
  get:   {{type: fetch, from: find, allow_hosts: ["127.0.0.1:{port}"]}}
"""
OLD, NEW = video("old", 200_000), video("new", 210_000)


class Site:
    """Gives the first who comes one file, slowly, and everybody else another."""

    def __init__(self, host: Host):
        self.host, self.go_on = host, asyncio.Event()
        host.answer = self._answer

    async def _answer(self, host: Host, request: web.BaseRequest) -> web.StreamResponse:
        if len(host.asked) > 1:
            return await host.part(request, NEW, tag='"v2"')
        response = web.StreamResponse(headers={"Content-Type": "video/mp4", "ETag": '"v1"'})
        response.content_length = len(OLD)
        await response.prepare(request)
        await response.write(OLD[:100_000])
        await self.go_on.wait()
        await response.write(OLD[100_000:])
        return response


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with hosts("site") as (host,):
        yield Site(host)


@pytest.fixture
async def bus(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bus]:
    """A deployed flow whose times run as fast as those of the workers."""
    monkeypatch.setitem(consumers.SETTINGS, "ack_wait", int(ACK_WAIT_S * SECOND))
    with start_nats(tmp_path) as server:
        bus = await connect(server.url, patience=10)
        await ensure_streams(bus.nc)
        (config,) = [c for c in STREAMS if c["name"] == f"KV_{subjects.LEASES_BUCKET}"]
        life = int(LEASE_S * SECOND)
        await ensure_stream(bus.nc, BASE | config | {"max_age": life, "duplicate_window": life})
        flow, problems = lint(FLOW.format(port=site.host.port))
        assert flow, problems
        await deploy(bus.nc, flow)
        yield bus
        await bus.close()


@contextmanager
def worker(bus: Bus, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A fetch worker, killed at the end if it still runs."""
    env = os.environ | {NATS_URL: str(bus.nc.connected_url.geturl()), OBJECTS: f"file://{folder}/objects"}
    command = [sys.executable, "-m", "tests.support.hasty_worker", "fetch"]
    with (folder / "fetch.log").open("ab") as log:
        process = subprocess.Popen(command, env=env | {WORK: str(folder / "work")}, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def offer(bus: Bus, host: Host, number: int) -> None:
    publisher = await Publisher(bus).start()
    candidate = host.candidate(number)
    await publisher.publish(subjects.output("t", "discover", "find", "candidates", candidate.id), encode(candidate))
    await publisher.stop()


async def fetched(bus: Bus, stream: str = "FLOW_t", pattern: str = "flow.t.fetch.>") -> list[Media]:
    js = bus.nc.jetstream()
    found = (await js.stream_info(stream, subjects_filter=pattern)).state.subjects or {}
    return [decode_any((await js.get_last_msg(stream, s)).data or b"") for s in found]  # type: ignore[misc]


def count(bus: Bus, wanted: int):
    async def check() -> bool:
        return len(await fetched(bus)) == wanted

    return check


@pytest.mark.parametrize("strike", [signal.SIGKILL, signal.SIGSTOP])
async def test_what_its_successor_made_stays(bus: Bus, site: Site, tmp_path: Path, strike: signal.Signals) -> None:
    async with asyncio.timeout(100):
        with worker(bus, tmp_path) as stale:
            await offer(bus, site.host, 1)
            await eventually(lambda: asked(site.host, 1), 30)
            stale.send_signal(strike)
            with worker(bus, tmp_path) as successor:
                await eventually(count(bus, 1), 60)
                successor.terminate()
                await asyncio.to_thread(successor.wait)
            site.go_on.set()
            if strike == signal.SIGSTOP:
                await asyncio.sleep(0.5)  # for the rest of the old file to lie ready when it wakes
                stale.send_signal(signal.SIGCONT)
                await offer(bus, site.host, 2)
                await eventually(count(bus, 2), 30)
                await eventually(lambda: idle(bus), 30)
    await everything_speaks_of_the_new_file(bus, tmp_path)
    assert site.host.asked.count("/1.mp4") == 2


async def everything_speaks_of_the_new_file(bus: Bus, folder: Path) -> None:
    objects = open_objects(f"file://{folder}/objects")
    (media,) = [media for media in await fetched(bus) if media.id == "web-site1"]
    sha256 = hashlib.sha256(NEW).hexdigest()
    assert media.sha256 == sha256 == hashlib.sha256(await objects.get(media.object_key)).hexdigest()
    assert [stat.key async for stat in objects.list("media/web-site1/")] == [media.object_key]
    manifest = msgspec.json.decode(await objects.get(keys.memo("fetch", media.recipe, media.id)), type=Manifest)
    (made,) = manifest.outputs
    assert msgspec.json.decode(made.message, type=Media).sha256 == sha256
    assert await fetched(bus, subjects.DEAD, "dead.>") == []


async def asked(host: Host, times: int) -> bool:
    return len(host.asked) == times


async def idle(bus: Bus) -> bool:
    said = await tallies(bus)
    return bool(said) and not any(t.live for worker in said.values() for each in worker.values() for t in each)
