"""10,000 videos that another flow has had, given to a flow of real fetch and extract workers: nothing is worked on.

What the manifests say of the bytes is not true, and only their versions are right: whoever read a video would find it
wrong, and download it. `python -m tests.bench.bench_known`
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from lodestream.blobs import Blob
from lodestream.bus import Bus, Publisher, connect
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.flow.model import Deployed
from lodestream.flow.store import load_deployed
from lodestream.memo import Memo
from lodestream.objects import open_objects
from lodestream.objects.directory import Directory
from lodestream.process import NATS_URL, OBJECTS, WORK
from lodestream.streams import ensure_streams
from proto import ids, keys, subjects
from proto.messages import Candidate, Media, Shard, encode
from tests.bench.cpu import cpu_seconds
from tests.support.servers import start_nats

COUNT, AT_ONCE, LIMIT = 10_000, 64, 120.0
PROMISED, SECONDS = 2_000.0, 20.0
"""Known inputs a second and process, and seconds for all of them through both nodes."""
FLOW = """
flow: {name}
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds}}
  get:    {{type: fetch, from: find}}
  frames: {{type: extract, from: get}}
"""


def _candidate(number: int) -> Candidate:
    ident = f"web-{number:024x}"
    return Candidate(id=ident, url=f"http://127.0.0.1:9/{number}.mp4", source="127.0.0.1", seed="bench")


def _sha256(number: int) -> str:
    return f"{number:064x}"


async def _remember(objects: Directory, record: Deployed, number: int) -> None:
    """Write the objects and manifests of one video, as if both nodes had worked on it."""
    (get,), (frames,) = record.nodes["get"].recipes, record.nodes["frames"].recipes
    about, sha256 = _candidate(number), _sha256(number)
    key = keys.media(about.id, "f0f0f0f0", sha256, "mp4")
    video = Blob(key, 4096, sha256, await objects.put(key, bytes(4096)))
    media = Media(id=about.id, url=about.url, source=about.source, sha256=sha256, bytes=4096, container="mp4",
                  codec="h264", width=64, height=48, object_key=key, recipe=get)  # fmt: skip
    await Memo(objects, "fetch", get).keep(about.id, 1.0, [("media", media)], [video], None)
    name = ids.shard_id(about.id, 0)
    tar = keys.shard(frames, about.id, name, sha256)
    cut = Blob(tar, 4096, sha256, await objects.put(tar, bytes(4096)))
    shard = Shard(id=name, media_id=about.id, source=about.source, object_key=tar, index=0, width=64, height=48,
                  time_ms=[0], offset=[512], length=[512], sampler="every 1s", sha256=sha256, bytes=4096,
                  recipe=frames)  # fmt: skip
    await Memo(objects, "extract", frames).keep(about.id, 1.0, [("shards", shard)], [cut], None)


async def _deploy(bus: Bus, name: str) -> Deployed:
    flow, problems = lint(FLOW.format(name=name))
    assert flow, problems
    await deploy(bus.nc, flow)
    return await load_deployed(bus.nc, name)


async def _offer(bus: Bus, name: str) -> None:
    """Every candidate, as `find` would give it."""
    publisher = await Publisher(bus).start()
    for start in range(0, COUNT, 500):
        some = [_candidate(number) for number in range(start, start + 500)]
        port = [subjects.output(name, "discover", "find", "candidates", each.id) for each in some]
        await asyncio.gather(*(publisher.publish(p, encode(c)) for p, c in zip(port, some, strict=True)))
    await publisher.stop()


@contextmanager
def _workers(url: str, folder: Path, *types: str) -> Iterator[int]:
    """The process id of the last."""
    env = os.environ | {NATS_URL: url, OBJECTS: f"file://{folder}/objects", WORK: str(folder / "work")}
    running = [subprocess.Popen([sys.executable, "-m", "lodestream.worker", kind], env=env) for kind in types]
    try:
        yield running[-1].pid
    finally:
        for worker in running:
            worker.terminate()
        for worker in running:
            worker.wait()


async def _given(bus: Bus, name: str, kind: str, port: str) -> int:
    info = await bus.nc.jetstream().stream_info(
        subjects.stream(name), subjects_filter=subjects.wire(name, kind, "*", port)
    )
    return len(info.state.subjects or {})


class Took(NamedTuple):
    """For all of them: seconds, and CPU seconds of the worker."""

    wall: float
    cpu: float


async def _until_given(bus: Bus, name: str, kind: str, port: str, worker: int) -> Took:
    """What it took from the first output to the last: a worker's start is not measured."""
    first, began, used = 0, 0.0, 0.0
    async with asyncio.timeout(LIMIT):
        while (there := await _given(bus, name, kind, port)) < COUNT:
            if there and not first:
                first, began, used = there, time.perf_counter(), cpu_seconds(worker)
            await asyncio.sleep(0.05)
    share = COUNT / (COUNT - first)
    return Took((time.perf_counter() - began) * share, (cpu_seconds(worker) - used) * share)


async def _measure(url: str, folder: Path) -> tuple[Took, Took, Took]:
    """What all took at `get` alone, at `frames` alone, and through both at once."""
    bus = await connect(url, patience=10)
    await ensure_streams(bus.nc)
    objects = open_objects(f"file://{folder}/objects")
    assert isinstance(objects, Directory)
    record = await _deploy(bus, "one")
    for start in range(0, COUNT, AT_ONCE):
        some = range(start, min(start + AT_ONCE, COUNT))
        await asyncio.gather(*(_remember(objects, record, number) for number in some))
    await _offer(bus, "one")
    with _workers(url, folder, "fetch") as worker:
        get = await _until_given(bus, "one", "fetch", "media", worker)
    with _workers(url, folder, "extract") as worker:
        frames = await _until_given(bus, "one", "extract", "shards", worker)
    await _deploy(bus, "two")
    await _offer(bus, "two")
    with _workers(url, folder, "fetch", "extract") as worker:
        both = await _until_given(bus, "two", "extract", "shards", worker)
    letters = (await bus.nc.jetstream().stream_info(subjects.DEAD)).state.messages
    await bus.close()
    if letters:
        raise SystemExit(f"{letters} dead letters: something was worked on")
    return get, frames, both


def run() -> list[dict[str, Any]]:
    """Rows {what, ratio, target, detail}; a ratio of at least its target is good."""
    with tempfile.TemporaryDirectory() as name, start_nats(Path(name)) as server:
        get, frames, both = uvloop.run(_measure(server.url, Path(name)))
    both_nodes = (("fetch", get), ("extract", frames))
    rates = [f"{name} {COUNT / took.cpu:,.0f} ({COUNT / took.wall:,.0f}/s by the clock)" for name, took in both_nodes]
    return [
        {
            "what": "known videos a CPU-second of a worker / 2,000",
            "ratio": COUNT / max(get.cpu, frames.cpu) / PROMISED,
            "target": 1.0,
            "detail": ", ".join(rates),
        },
        {
            "what": "20 s / a flow over 10,000 known videos",
            "ratio": SECONDS / both.wall,
            "target": 1.0,
            "detail": f"{both.wall:.1f} s through fetch and extract, no video read",
        },
    ]


if __name__ == "__main__":
    for row in run():
        print(row)
