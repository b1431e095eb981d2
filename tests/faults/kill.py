"""Kill: an instance of real processes mines a site while processes of it are killed with -9 all the time.

What it has in the end must be what an undisturbed instance has of the same site, to the row, the object and the byte,
and nothing that was stored may have been asked for again. `python -m tests.faults.kill --seed 1 [--short] [--minio]
[--videos 500] [--kills 100] [--write]`
"""

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import nats.errors

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.flow.consumers import infos
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.idle import until_idle
from lodestream.local import Home
from lodestream.objects.directory import Directory
from lodestream.streams import ask
from proto import subjects
from tests.faults.figures import keep
from tests.faults.harvest import Harvest, differences, reap
from tests.faults.instance import PATIENCE, Instance
from tests.faults.powercut import watched
from tests.faults.smallsite import PAGES, SmallSite, small_site
from tests.faults.strikes import DECK, ON_MINIO, Killer, Strike, plan
from tests.support.servers import start_minio

NAME = "kill"
FLOW = """
flow: kill
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, limit: 1000, allow_hosts: ["{host}"]}}
  get:    {{type: fetch, from: find, allow_hosts: ["{host}"], per_host: 24}}
  frames: {{type: extract, from: get, every: 1s}}
  prices: {{type: records, from: seeds, allow_hosts: ["{host}"], id: sku}}
"""
LONG, SHORT = (500, 100), (40, 10)
"""Videos and kills."""
SHORT_ACK_WAIT = 8.0
ALIVE = "alive"
"""A file by which the catalog shows that it is."""
LINES = 20
"""URLs in one seed message."""
COUNT_EVERY = 1.0
QUIET_S, KILL_S = 180.0, 45.0
"""Seconds that a run may take without kills, and for each kill on top: a redelivery and a pause before a restart."""
IN_HAND = 16
"""Downloads that one kill can break off at most: of both workers, all that they have in hand."""


class Run:
    """One instance that mines the site from an empty folder to its end."""

    def __init__(self, target: Instance, site: SmallSite):
        self.target, self.site = target, site
        self.seconds = 0.0
        self.finished = False
        """Whether every strike of the plan has fallen: not where all came to rest too early."""
        self.messages = 0
        self.given: dict[tuple[str, str], int] = {}
        """Deliveries by consumer and when that was made; those of its last second before an end are not known."""
        self.hits: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        self.needless: list[str] = []
        self.killer: Killer | None = None

    async def mine(self, strikes: list[Strike], messages: int = 0) -> None:
        """Publish everything and wait for the end of it, under kills where `strikes` has any.

        `messages` is what the stream has in the end. Raises LodeError where it does not come to an end.
        """
        self.site.clear()
        self.site.is_stored = self.target.is_stored
        await asyncio.to_thread(self.target.start)
        bus = await self.target.connect()
        async with watched(self.target.home.nats) as disk:
            self.killer = Killer(self.target, NAME, bus, disk, messages, partial(self._deploy, bus))
            began = time.monotonic()
            await self.killer.deploy()
            killing = asyncio.create_task(self.killer.run(strikes))
            counting = asyncio.create_task(self._count(bus))
            try:
                for wave in self._waves():
                    for seed in wave:
                        await self.killer.publish(seed)
                    await until_rest(bus, QUIET_S + KILL_S * len(strikes), killing)
                await asyncio.wait([killing], timeout=PATIENCE)
                await until_rest(bus, QUIET_S, killing)
            finally:
                self.finished = killing.done()
                killing.cancel()
            self.seconds = time.monotonic() - began
            await asyncio.sleep(COUNT_EVERY)
            counting.cancel()
        await bus.close()
        self.hits, self.whole = self.site.hits.copy(), self.site.whole.copy()
        self.needless = self.site.needless.copy()

    async def _deploy(self, bus: Bus) -> None:
        flow, problems = lint(FLOW.format(host=self.site.base.removeprefix("http://")))
        assert flow, problems
        await deploy(bus.nc, flow)
        await self.target.hasten(bus, NAME)

    def _waves(self) -> Iterator[list[bytes]]:
        """Second copies of a video come last: which of two that race is the first is nobody's promise."""
        fed = {video.path for video in self.site.in_feed()}
        alone = [v for v in self.site.videos if v.path not in fed]
        first = [v.path for v in alone if v.kind != "copy"]
        second = [v.path for v in alone if v.kind == "copy"]
        prices = msgspec.json.encode({"kind": "records", "value": self.site.base + PAGES.format(0)})
        yield [*self._lines(first), (self.site.base + "/feed.xml").encode(), prices]
        yield self._lines(second)

    def _lines(self, paths: list[str]) -> list[bytes]:
        groups = (paths[start : start + LINES] for start in range(0, len(paths), LINES))
        return ["\n".join(self.site.base + path for path in group).encode() for group in groups]

    async def _count(self, bus: Bus) -> None:
        """Count messages in the flow's stream, and how often they are delivered to its nodes, until cancelled."""
        while True:
            with contextlib.suppress(LodeError, nats.errors.Error):
                info = await ask(bus.nc, f"STREAM.INFO.{subjects.stream(NAME)}", {}) or {}
                self.messages = info["state"]["messages"]
                for (_, name), consumer in (await infos(bus.nc, NAME)).items():
                    if name != subjects.CATALOG:
                        self.given[name, consumer["created"]] = consumer["delivered"]["consumer_seq"]
            await asyncio.sleep(COUNT_EVERY)

    @property
    def deliveries(self) -> int:
        """Messages handed to nodes, as far as is known."""
        return sum(self.given.values())


async def until_rest(bus: Bus, limit: float, killing: "asyncio.Task[None]") -> None:
    """Wait until the flow is idle, whatever is away meanwhile. Raises what ends the killing, or LodeError."""
    deadline = time.monotonic() + limit
    while True:
        if killing.done():
            killing.result()
        try:
            async for _ in until_idle(bus, NAME, deadline - time.monotonic()):
                pass
            return
        except (LodeError, nats.errors.Error, OSError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


@contextmanager
def instance(folder: Path, minio: bool, ack_wait: float | None) -> Iterator[Instance]:
    """An instance in a folder of its own; nothing of it runs afterwards."""
    folder.mkdir()
    server = start_minio(folder) if minio else None
    target = Instance(Home(folder / "home"), server, ack_wait)
    target.claim_ports()
    try:
        yield target
    finally:
        with contextlib.suppress(LodeError):
            target.stop()
        target.kill_all()
        if server:
            server.stop()


async def run(
    seed: int, videos: int, kills: int, *, minio: bool = False, ack_wait: float | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Figures of an undisturbed run and one under kills, and what is wrong with the second, in words."""
    with tempfile.TemporaryDirectory() as name:
        async with small_site(videos) as site:
            with instance(Path(name) / "quiet", minio, ack_wait) as target:
                quiet = Run(target, site)
                await quiet.mine([])
                await asyncio.to_thread(target.stop)
                wanted = await reap(target, site.clips())
            with instance(Path(name) / "killed", minio, ack_wait) as target:
                under = Run(target, site)
                strikes = plan(seed, kills, ON_MINIO if minio else DECK)
                await under.mine(strikes, quiet.messages)
                await asyncio.to_thread(target.stop)
                wrong = [f"undisturbed: {what}" for what in wanted.wrong]
                wrong += differences(wanted, got := await reap(target, site.clips()))
                wrong += _judge(quiet, under) + await asyncio.to_thread(_left, target)
    return _figures(quiet, under, wanted, got, videos), wrong


def _judge(quiet: Run, under: Run) -> list[str]:
    """What was asked of the site, and what outlived its supervisor."""
    assert under.killer
    wrong = [f"asked for although it was stored: {path}" for path in under.needless]
    wrong += [f"never asked for: {path}" for path in quiet.hits.keys() - under.hits.keys()]
    wrong += [f"orphan: {pid}" for pid in under.killer.orphans]
    extra, allowed = (under.hits - quiet.hits).total(), IN_HAND * under.killer.killed.total()
    wrong += [] if extra <= allowed else [f"{extra} requests too many, {allowed} at most"]
    early = f"came to rest after {under.messages} of {quiet.messages} messages, with strikes left"
    return wrong + ([] if under.finished else [early])


def _left(target: Instance) -> list[str]:
    """Processes that are there still, and temporary files that are once hours have passed and the janitor has come."""
    wrong = [f"still runs: {pid}" for pid in target.wait_for_end()]
    temporary = target.home.objects / ".tmp"
    for file in temporary.iterdir():
        os.utime(file, (0, 0))
    Directory(target.home.objects).sweep()
    left = [path for folder in (temporary, target.home.work) for path in folder.iterdir()]
    return wrong + [f"left: {path}" for path in left if path != target.home.work / ALIVE]


def _figures(quiet: Run, under: Run, wanted: Harvest, got: Harvest, videos: int) -> dict[str, Any]:
    assert under.killer
    killed = under.killer.killed
    return {
        "videos": videos,
        "kills": killed.total(),
        "of": ", ".join(f"{kind} {count}" for kind, count in sorted(killed.items())),
        "messages": under.messages,
        "objects": len(got.objects),
        "redeliveries at least": under.deliveries - quiet.deliveries,
        "extra requests": (under.hits - quiet.hits).total(),
        "whole downloads repeated": (under.whole - quiet.whole).total(),
        "dead letters": got.dead - wanted.dead,
        "lost to power cuts, bytes": under.killer.lost_bytes,
        "seconds": round(under.seconds, 1),
        "seconds without kills": round(quiet.seconds, 1),
        "seconds a kill": round((under.seconds - quiet.seconds) / max(1, killed.total()), 1),
    }


def main() -> None:
    """Entry point; status 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed kills the same at the same points")
    parser.add_argument("--short", action="store_true", help="the form that is part of the tests")
    parser.add_argument("--minio", action="store_true", help="on a MinIO server, which is killed, too")
    parser.add_argument("--videos", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="keep the figures in RESULTS.md")
    given = parser.parse_args()
    videos, kills = SHORT if given.short else LONG
    videos, kills = given.videos or videos, given.kills or kills
    ack_wait = SHORT_ACK_WAIT if given.short else None
    figures, wrong = asyncio.run(run(given.seed, videos, kills, minio=given.minio, ack_wait=ack_wait))
    keep("kill --minio" if given.minio else "kill", given.seed, figures | {"wrong": len(wrong)})
    for what in wrong:
        print(what)
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
