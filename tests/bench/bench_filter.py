"""Frames through the filter, and a changed prompt, against plain loops around onnxruntime with the same threads.

`python -m tests.bench.bench_filter`; real Triton, the stand-in for SigLIP 2, 720p frames of a film. The stand-in is far
cheaper than SigLIP 2 itself, so what surrounds the model weighs most here. The better of some runs, taken in turns.
`python -m tests.bench.bench_filter 100000` changes a prompt on so many frames, which take 19 GB of disk.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import simplejpeg
from PIL import Image

from lodestream.demo.shapes import Scene, Thing
from lodestream.errors import LodeError
from lodestream.local.triton import lacks
from lodestream.models import standins
from lodestream.models.shelf import MODEL
from proto.messages import Shard
from services.filter.node import NODE
from tests.bench.cpu import cpu_seconds
from tests.support.frames import job, jpeg, parts, put_shard
from tests.support.triton import TritonServer, start_triton

NAME, WIDTH, HEIGHT = "standin-siglip2", 1280, 720
SHARD, FRAMES, MANY, TURNS, BATCH = 256, 1024, 1024, 2, 32
SCENE = Scene("grey", (Thing("red", "ball"), Thing("blue", "square", at=(0.8, 0.7))), noise=4)


class Cost(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float
    """Of all processes that work on it."""


Run = Callable[[str], Awaitable[Cost]]


def run(many: int = MANY) -> list[dict[str, Any]]:
    """One row per target; a prompt is changed on `many` frames."""
    if lack := lacks():
        raise LodeError(lack)
    with tempfile.TemporaryDirectory() as folder:
        server = start_triton(Path(folder))
        with server.process:
            standins.install(NAME, server.models)
            return asyncio.run(_measured(server, Path(folder), many))


async def _measured(server: TritonServer, folder: Path, many: int) -> list[dict[str, Any]]:
    jpegs = [jpeg(SCENE.picture(n, n / 8, WIDTH, HEIGHT)) for n in range(64)]
    frames = [jpegs[n % len(jpegs)] for n in range(FRAMES)]
    loop = _Loop(server.models / f"{NAME}-image" / MODEL)
    took: dict[str, list[Cost]] = {"ours": [], "plain": [], "scaled": []}
    for turn in range(-1, TURNS):  # the first to warm up
        async with _node(server, folder / f"turn{turn}", jpegs, FRAMES) as first_run:
            costs = {"ours": await first_run("a red ball")}
        for name in ("plain", "scaled"):
            began, before = time.perf_counter(), time.process_time()
            await asyncio.to_thread(loop, frames, name == "scaled")
            costs[name] = Cost(time.perf_counter() - began, time.process_time() - before)
        for name, cost in costs.items() if turn >= 0 else ():
            took[name].append(cost)
    wall = {name: min(cost.wall for cost in costs) for name, costs in took.items()}
    cpu = {name: f"{min(cost.cpu for cost in costs) / FRAMES * 1000:.1f}" for name, costs in took.items()}
    async with _node(server, folder / "many", jpegs, many) as filtered:
        (_, first), (_, second) = await filtered("a red ball"), await filtered("a blue square")
    return [
        {
            "what": "filter, images/s against decode, resize, onnxruntime",
            "ratio": wall["plain"] / wall["ours"],
            "target": 0.9,
            "detail": f"{FRAMES / wall['ours']:.0f} of 720p, {FRAMES / wall['plain']:.0f} by the loop, "
            f"{FRAMES / wall['scaled']:.0f} by one that decodes scaled; CPU ms each {cpu['ours']}, {cpu['plain']}, "
            f"{cpu['scaled']}; {os.cpu_count()} threads",
        },
        {
            "what": "filter, a changed prompt: CPU against the first run",
            "ratio": second / first,
            "target": 1 / 20,
            "cost": True,
            "detail": f"{many:,} frames; {second:.2f} s, {first:.1f} s, Triton included",
        },
    ]


@asynccontextmanager
async def _node(server: TritonServer, folder: Path, jpegs: Sequence[bytes], count: int) -> AsyncIterator[Run]:
    """The node over a store of its own with so many frames; gives wall and CPU seconds of a prompt on all of them."""
    folder.mkdir()
    on = replace(parts(folder), triton=server.address, models=server.models)
    some = [jpegs[n % len(jpegs)] for n in range(SHARD)]
    size = {"width": WIDTH, "height": HEIGHT}
    shards = [await put_shard(on.objects, some, index=n, media=f"web-{n}", **size) for n in range(count // SHARD)]
    assert NODE.open
    async with NODE.open(on) as state:

        async def one(shard: Shard, prompt: str) -> None:
            settings = NODE.read_settings({"keep": [prompt], "model": NAME, "threshold": 0})
            made = [message async for _, message in NODE.handler(shard, job(on, settings, state))]
            assert len(made[0].kept) == SHARD  # type: ignore[attr-defined]

        async def run(prompt: str) -> Cost:
            pid = server.process.process.pid
            began, before = time.perf_counter(), time.process_time() + cpu_seconds(pid)
            places = asyncio.Semaphore(NODE.concurrency)

            async def placed(shard: Shard) -> None:
                async with places:
                    await one(shard, prompt)

            await asyncio.gather(*map(placed, shards))
            return Cost(time.perf_counter() - began, time.process_time() + cpu_seconds(pid) - before)

        yield run


class _Loop:
    """What somebody would write by hand: threads that decode and resize, then the model, batch by batch."""

    def __init__(self, model: Path):
        threads = os.cpu_count() or 1
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._threads = ThreadPoolExecutor(threads)

    def __call__(self, jpegs: Sequence[bytes], scaled: bool) -> None:
        def pixels(data: bytes) -> np.ndarray:
            sides = {"min_height": 224, "min_width": 224} if scaled else {}
            picture = Image.fromarray(simplejpeg.decode_jpeg(data, **sides))
            return np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR))

        pictures = self._threads.map(pixels, jpegs)
        for _ in range(0, len(jpegs), BATCH):
            batch = np.stack([next(pictures) for _ in range(BATCH)])
            self._session.run(["embedding"], {"image": batch})


if __name__ == "__main__":
    for row in run(*map(int, sys.argv[1:])):
        print("{what}: {ratio:.3f} (target {target}; {detail})".format(**row))
