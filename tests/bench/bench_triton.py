"""Pictures per second through the client and a Triton server, against onnxruntime called in a loop.

The same model, batches and threads; the two take turns, and the median of the turns' ratios counts. The loop runs in
a process of Triton's own environment, which has onnxruntime.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from lodestream.inference.client import Triton
from lodestream.local.triton import VENV, lacks
from tests.bench.cpu import cpu_seconds, resident_mb
from tests.bench.towers import BATCH, SIDE, add_tower
from tests.support.triton import TritonServer, start_triton

TURNS, PICTURES = 7, 8 * BATCH
IDLE = 10.0
"""Seconds."""
LOOP = """
import json, sys, time
import numpy as np, onnxruntime as ort
model, threads, batch, side, count, cuda = json.loads(sys.argv[1])
options = ort.SessionOptions()
options.intra_op_num_threads = threads
providers = ["CUDAExecutionProvider"] if cuda else ["CPUExecutionProvider"]
if cuda:
    ort.preload_dlls()
session = ort.InferenceSession(model, options, providers=providers)
assert session.get_providers()[0] == providers[0], session.get_providers()
images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
for line in sys.stdin:
    started = time.perf_counter()
    made = [session.run(None, {"image": images[at : at + batch]})[0] for at in range(0, count, batch)]
    print(json.dumps([time.perf_counter() - started, float(np.concatenate(made).sum())]), flush=True)
"""


class Loop:
    """The hand-written loop, in a process of its own."""

    def __init__(self, model: Path, *, cuda: bool = False):
        told = [str(model), len(os.sched_getaffinity(0)), BATCH, SIDE, PICTURES, cuda]
        command = [str(VENV / "bin" / "python"), "-c", LOOP, json.dumps(told)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self) -> tuple[float, float]:
        """Seconds for PICTURES, and the sum of what came out."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, total = json.loads(self.process.stdout.readline())
        return seconds, total

    def end(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def run() -> list[dict[str, Any]]:
    """One row per target."""
    if lack := lacks():
        sys.exit(lack)
    with tempfile.TemporaryDirectory() as folder:
        server = start_triton(Path(folder))
        with server.process:
            return asyncio.run(measure(server))


async def measure(server: TritonServer) -> list[dict[str, Any]]:
    """Throughput, then what the server costs while nobody asks."""
    model = add_tower(server.models, "tower")
    ratio, detail = await compare(server, Loop(model / "1" / "model.onnx"))
    pid = server.process.process.pid
    before = cpu_seconds(pid)
    await asyncio.sleep(IDLE)
    idle = (cpu_seconds(pid) - before) / IDLE
    memory = f"{resident_mb(pid):.0f} MB with one model of {(model / '1' / 'model.onnx').stat().st_size >> 20} MB"
    return [
        {"what": f"Triton: pictures of {SIDE}², against onnxruntime", "ratio": ratio, "target": 0.9, "detail": detail},
        {"what": "Triton: cores in use while idle", "ratio": idle, "target": 0.02, "cost": True, "detail": memory},
    ]


async def compare(server: TritonServer, loop: Loop) -> tuple[float, str]:
    """The median ratio of both speeds, and the medians in words."""
    images = np.random.default_rng(0).integers(0, 256, (PICTURES, SIDE, SIDE, 3), np.uint8)
    client = Triton(server.address)
    turns: list[tuple[float, float]] = []
    try:
        for turn in range(TURNS + 1):
            plain, total = loop.turn()
            started = time.perf_counter()
            made = await client.infer("tower", {"image": images}, ["embedding"])
            if turn:  # the first one warms up
                turns.append((time.perf_counter() - started, plain))
            assert np.isclose(made["embedding"].sum(), total, rtol=1e-3), "other answers than the loop's"
    finally:
        await client.close()
        loop.end()
    served, plainly = (PICTURES / statistics.median(times) for times in zip(*turns, strict=True))
    ratio = statistics.median(plain / ours for ours, plain in turns)
    return ratio, f"{served:.0f} and {plainly:.0f} per second, median of {TURNS} turns"
