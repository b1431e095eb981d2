"""A part is away, hung or full for a while: everybody waits and says so, nothing is given up, and all goes on unaided.

`python -m tests.faults.outages --seed 1 [--short] [--write]`: an instance of real processes on a MinIO server mines a
site while the object store, the NATS server and the catalog are each gone (killed as often as they come back) and hung
(SIGSTOP), a stream is full, and then another instance runs out of disk, on a small tmpfs.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lodestream.bus import Bus
from lodestream.catalog import Ways, sql
from lodestream.deadletters import unresolved
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.idle import until_idle
from lodestream.local import Home
from lodestream.local.ports import NATS
from lodestream.streams import ask
from proto import subjects
from tests.faults import figures
from tests.faults.instance import Instance, kill
from tests.faults.smallsite import SmallSite, Video, small_site
from tests.support.servers import start_minio

FLOW = """flow: f
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, allow_hosts: ["{site}"]}}
  get:    {{type: fetch, from: find, per_host: 8, allow_hosts: ["{site}"]}}
  frames: {{type: extract, from: get, every: 1s}}
"""
SECONDS, SHORT = 60.0, 1.5
"""How long a part is away."""
PATIENCE = 180.0
"""Seconds in which all must be done once everything is back."""
EVERY = 1.0
"""Seconds between looks at what `lode status` says meanwhile."""
LINES = 6
"""Log lines about one outage at most, of each process of ours: what waits, for what, and that it goes on."""
AGAIN_AND_AGAIN, OFTEN = ("nats away", "catalog away"), 8
"""What comes back in between, and how often it does in a minute."""
CLI_ERRORS = "cli-error"
"""The log of commands that end by a failure of ours."""


@dataclass
class Scene:
    """A running instance and the site that it mines."""

    instance: Instance
    site: SmallSite
    bus: Bus
    rng: random.Random
    fresh: list[Video]
    """Videos that nobody has asked for yet."""
    taken: list[Video] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    """The problems that status named in the outage at hand."""
    looks: int = 0

    def status(self) -> dict[str, Any]:
        """What `lode status --json` prints, whatever is away."""
        command = [sys.executable, "-P", "-m", "lodestream.cli", "status", "--json"]
        environment = {**os.environ, "LODE_HOME": str(self.instance.home.root), "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return dict(json.loads(done.stdout)) if done.stdout else {"problems": [done.stderr.decode().strip()]}

    async def seed(self, count: int) -> None:
        """Publish the URLs of some more videos; persists while the server is away."""
        some, self.fresh = self.fresh[:count], self.fresh[count:]
        assert len(some) == count, "the site has too few videos"
        for video in some:
            while True:
                with contextlib.suppress(Exception):
                    await self.bus.nc.jetstream().publish(subjects.seeds("f"), (self.site.base + video.path).encode())
                    break
                await asyncio.sleep(0.2)
        self.taken += some

    async def watch(self, seconds: float) -> None:
        """Look at the status again and again, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.said |= set((await asyncio.to_thread(self.status))["problems"])
            self.looks += 1
            await asyncio.sleep(min(EVERY, max(left, 0)))

    async def whole(self) -> None:
        """Wait until the flow is idle; then every video that was asked for is there, once, with nothing given up."""
        async for _ in until_idle(self.bus, "f", PATIENCE):
            pass
        found = (await sql("select url, count(*) from media group by all", Ways(self.bus.nc))).rows
        assert sorted(found) == sorted([self.site.base + video.path, 1] for video in self.taken)
        without = "select count(*) from media anti join frames using (flow, media_id)"
        assert (await sql(without, Ways(self.bus.nc))).rows == [[0]]
        assert await unresolved(self.bus.nc.jetstream()) == []
        assert (await sql("select count(*) from rejects", Ways(self.bus.nc))).rows == [[0]]

    def log_lines(self) -> dict[str, int]:
        """Lines in each process's log so far."""
        logs = self.instance.home.logs.glob("*.log")
        return {path.stem: path.read_bytes().count(b"\n") for path in logs}


Breaking = Callable[[Scene, float], Awaitable[None]]
"""Takes a part away for so many seconds, watching, and brings it back."""


async def objects_away(scene: Scene, seconds: float) -> None:
    """The object store is killed, and started later."""
    assert scene.instance.minio
    scene.instance.minio.kill()
    await scene.watch(seconds)
    await asyncio.to_thread(scene.instance.minio.start)


async def objects_hung(scene: Scene, seconds: float) -> None:
    """The object store takes connections and does not answer."""
    assert scene.instance.minio
    with stopped(scene.instance.minio.process.pid):
        await scene.watch(seconds)


def killed_again_and_again(kind: str) -> Breaking:
    """A supervised process that is killed whenever it is there."""

    async def breaking(scene: Scene, seconds: float) -> None:
        watching = asyncio.create_task(scene.watch(seconds))
        while not watching.done():
            for pid in scene.instance.victims(kind):
                kill(pid)
            await asyncio.sleep(0.05)
        await watching

    return breaking


def hung(kind: str) -> Breaking:
    """A supervised process that stands still."""

    async def breaking(scene: Scene, seconds: float) -> None:
        [pid] = scene.instance.victims(kind)
        with stopped(pid):
            await scene.watch(seconds)

    return breaking


async def stream_full(scene: Scene, seconds: float) -> None:
    """The flow's stream takes nothing more, until somebody gives it room."""
    name = subjects.stream("f")
    info = await ask(scene.bus.nc, f"STREAM.INFO.{name}", {}) or {}
    await ask(scene.bus.nc, f"STREAM.UPDATE.{name}", info["config"] | {"max_bytes": info["state"]["bytes"]})
    await scene.watch(seconds)
    await ask(scene.bus.nc, f"STREAM.UPDATE.{name}", info["config"])


async def disk_full(scene: Scene, seconds: float) -> None:
    """Nothing is left of the disk on which all of the instance lies."""
    filler = scene.instance.home.root.parent / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    await scene.watch(seconds)
    filler.unlink()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still inside the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


OUTAGES: dict[str, tuple[Breaking, str]] = {
    "objects away": (objects_away, "objects in"),
    "objects hung": (objects_hung, "objects in"),
    "nats away": (killed_again_and_again("nats"), "NATS"),
    "nats hung": (hung("nats"), "NATS"),
    "catalog away": (killed_again_and_again("catalog"), "catalog"),
    "catalog hung": (hung("catalog"), "catalog"),
    "stream full": (stream_full, "its stream is full"),
}
"""By name: what happens, and a word of what status must say of it."""
IN_SHORT = ("objects away", "nats hung", "catalog away", "stream full")


async def outage(scene: Scene, name: str, breaking: Breaking, word: str, seconds: float, count: int) -> dict[str, Any]:
    """One outage in the middle of some work; figures of it."""
    before, scene.said, scene.looks = scene.log_lines(), set(), 0
    await scene.seed(count)
    await asyncio.sleep(scene.rng.uniform(0.1, 0.6))
    feeding = asyncio.create_task(scene.seed(count))
    await breaking(scene, seconds)
    back = time.monotonic()
    await feeding
    await scene.whole()
    lines = {process: count - before.get(process, 0) for process, count in scene.log_lines().items()}
    told = [said for said in scene.said if word in said]
    return {"outage": name, "seconds": seconds, "recovered_s": time.monotonic() - back, "looks": scene.looks,
            "said": min(told, key=len, default=""), "videos": 2 * count, "lines": lines}  # fmt: skip


@asynccontextmanager
async def scene(folder: Path, site: SmallSite, seed: int, *, s3: bool) -> AsyncIterator[Scene]:
    """An instance with the flow deployed."""
    instance = Instance(Home(folder / "home"), start_minio(folder) if s3 else None)
    instance.claim_ports()
    try:
        await asyncio.to_thread(instance.start)
        bus = await instance.connect()
        flow, problems = lint(FLOW.format(site=site.base.removeprefix("http://")))
        assert flow, problems
        await deploy(bus.nc, flow)
        videos = [video for video in site.videos if video.kind == "plain"]
        yield Scene(instance, site, bus, random.Random(seed), videos)
        await bus.close()
    finally:
        await asyncio.to_thread(instance.stop)
        if instance.minio:
            instance.minio.stop()
    assert instance.wait_for_end() == []


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of 1 GB; None where nobody lets us mount one."""
    mount = folder / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", mount], capture_output=True).returncode:
        yield None
        return
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


async def run(folder: Path, seed: int, *, short: bool) -> list[dict[str, Any]]:
    """Every outage; figures of each. Raises AssertionError where something was lost, given up or not said."""
    seconds, count = (SHORT, 5) if short else (SECONDS, 20)
    names = [name for name in OUTAGES if not short or name in IN_SHORT]
    found = []
    async with small_site(3 * count * (len(names) + 1)) as site:
        async with scene(folder, site, seed, s3=True) as on_minio:
            on_minio.rng.shuffle(names)
            for name in names:
                found.append(await outage(on_minio, name, *OUTAGES[name], seconds, count))
                _look(found[-1], seconds)
        if not short:
            with small_disk(folder) as disk:
                if disk:
                    async with scene(disk, site, seed, s3=False) as full:
                        found.append(await outage(full, "disk full", disk_full, "disk", seconds, count))
                        _look(found[-1], seconds)
    return found


def _look(found: dict[str, Any], seconds: float) -> None:
    """Whether an outage was said, and with few words."""
    print(json.dumps(found), file=sys.stderr, flush=True)
    assert found["said"] or seconds < SECONDS, f"{found['outage']}: status did not say it"
    assert not found["lines"].get(CLI_ERRORS), f"{found['outage']}: a command failed for want of words"
    often = OFTEN if found["outage"] in AGAIN_AND_AGAIN else 1
    loud = {name: count for name, count in found["lines"].items() if name != NATS and count > LINES * often}
    assert not loud, f"{found['outage']}: said too often: {loud}"


async def main() -> None:
    """The command."""
    given = figures.arguments(__doc__ or "")
    with tempfile.TemporaryDirectory(prefix="outages-") as folder:
        found = await run(Path(folder), given.seed, short=given.short)
    figures.keep("outages", given.seed, _sum(found))


def _sum(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of all outages; the NATS server's own log is not ours."""
    ours = [count for one in found for name, count in one["lines"].items() if name != NATS]
    return {
        "outages": len(found), "videos": sum(one["videos"] for one in found), "dead letters": 0, "lost": 0,
        "slowest recovery, s": max(one["recovered_s"] for one in found),
        "log lines of one process at most": max(ours, default=0),
    }  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
