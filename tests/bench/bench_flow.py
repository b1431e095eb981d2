"""The whole flow over 40 videos, memo cold, against its kernels called as plain functions.

Kernels: download over HTTP with a SHA-256, sparse decode and JPEG encoding into shards. What the flow adds: NATS,
discovery, probes, leases, memos, messages, the catalog. `python -m tests.bench.bench_flow`
"""

import asyncio
import hashlib
import os
import struct
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import aiohttp

from lodestream.bus import Bus, connect
from lodestream.demo.clips import Clip
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.idle import until_idle
from lodestream.local import Home, connection, down, is_up, up
from proto import subjects
from services.extract.child import Task, extract
from services.extract.sampler import Sampler
from tests.bench.cpu import cpu_seconds, settle
from tests.bench.static_site import static_site

VIDEOS, SECONDS = 40, 30
OUTPUTS = 5
"""Of one video: a seed, a candidate, a listing, a media and a shard."""
LIMIT, EVERY = 300.0, 0.1
"""Seconds that all may take, and between looks."""
CLIP = Clip("bench", seconds=SECONDS, fps=30, width=1280, height=720, bframes=3, gop=250)
FLOW = """
flow: bench
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, allow_hosts: ["{host}"]}}
  get:    {{type: fetch, from: find, allow_hosts: ["{host}"], per_host: 8}}
  frames: {{type: extract, from: get, every: 1s}}
"""


def make_videos(folder: Path) -> list[str]:
    """Forty files that differ in a few bytes only, behind the last box: one encoding is enough."""
    data = CLIP.encode()
    for number in range(VIDEOS):
        (folder / f"{number}.mp4").write_bytes(data + struct.pack(">I4sQ", 16, b"free", number))
    return [f"{number}.mp4" for number in range(VIDEOS)]


async def download(url: str, path: Path) -> None:
    """The first kernel."""
    digest = hashlib.sha256()
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        with path.open("wb") as file:
            async for chunk in answer.content.iter_any():
                digest.update(chunk)
                file.write(chunk)


def kernel(base: str, name: str, folder: Path) -> float:
    """CPU seconds of the kernels for one video."""
    began = time.process_time()
    asyncio.run(download(base + name, folder / name))
    task = Task(str(folder / name), name, base + name, "bench", Sampler(every=1.0), 90, None, 100_000)
    (folder / f"{name}.shards").mkdir()
    extract(task, folder / f"{name}.shards", lambda *_, **__: None)
    return time.process_time() - began


def kernels(base: str, names: list[str], folder: Path) -> float:
    """CPU seconds of the kernels for all, on every core at once: two threads of one core slow each other down."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return sum(pool.map(kernel, repeat(base), names, repeat(folder)))


async def mine(bus: Bus, base: str, names: list[str]) -> int:
    """Publish every video as a seed and wait; how many outputs the stream has."""
    flow, problems = lint(FLOW.format(host=base.split("/")[2]))
    if flow is None:
        raise SystemExit(str(problems))
    await deploy(bus.nc, flow)
    for name in names:
        await bus.nc.publish(subjects.seeds("bench"), (base + name).encode())
    await bus.nc.flush()
    js, last = bus.nc.jetstream(), 0
    async with asyncio.timeout(LIMIT):
        while (last := (await js.stream_info(subjects.stream("bench"))).state.last_seq) < OUTPUTS * VIDEOS:
            await asyncio.sleep(EVERY)
    async for now in until_idle(bus, "bench", LIMIT):  # the catalog, too; each look costs some
        last = now.last_seq
    return last


async def whole_flow(home: Home, base: str, names: list[str]) -> tuple[float, float]:
    """CPU seconds of every process of a running instance for the flow, and wall seconds."""
    state = is_up(home)
    assert state
    settle(state.pid)
    bus = await connect(*connection(home), patience=5)
    before, began = cpu_seconds(state.pid), time.perf_counter()
    stored = await mine(bus, base, names)
    used, wall = cpu_seconds(state.pid) - before, time.perf_counter() - began
    await bus.close()
    if stored != OUTPUTS * VIDEOS:
        raise SystemExit(f"{stored} outputs, not {OUTPUTS * VIDEOS}")
    return used, wall


def run() -> list[dict[str, Any]]:
    """One row {what, ratio, target, cost, detail}."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "site").mkdir()
        (folder / "plain").mkdir()
        names, home = make_videos(folder / "site"), Home(folder / "home")
        up(home, detach=True)
        try:
            with static_site(folder / "site") as base:
                plain = kernels(base, names, folder / "plain")
                used, wall = asyncio.run(whole_flow(home, base, names))
        finally:
            down(home)
    detail = f"flow {used:.1f} CPU-s in {wall:.1f} s, kernels {plain:.1f} CPU-s, {VIDEOS} videos of {SECONDS} s"
    return [
        {"what": "whole flow / its kernels, CPU", "ratio": used / plain, "target": 1.25, "cost": True, "detail": detail}
    ]


if __name__ == "__main__":
    for row in run():
        print(row)
