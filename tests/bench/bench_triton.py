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
from typing import Any, NamedTuple

import numpy as np

from lodestream.inference.client import Triton
from lodestream.local.triton import VENV, lacks
from tests.bench.cpu import cpu_seconds, resident_mb
from tests.bench.towers import BATCH, SIDE, add_tower
from tests.support.triton import TritonServer, start_triton

TURNS, PICTURES = 5, 8 * BATCH
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
    turns = await compare(server, Loop(model / "1" / "model.onnx"))
    pid = server.process.process.pid
    before = cpu_seconds(pid)
    await asyncio.sleep(IDLE)
    idle = (cpu_seconds(pid) - before) / IDLE
    memory = f"{resident_mb(pid):.0f} MB with one model of {(model / '1' / 'model.onnx').stat().st_size >> 20} MB"
    what = f"Triton: pictures of {SIDE} x {SIDE}, against onnxruntime in a loop"
    ours, plain = (1000 * seconds / PICTURES for seconds in medians(turns)[2:])
    cpu = f"{ours:.1f} and {plain:.1f} ms each, server and client together"
    return [
        {"what": what, **throughput(turns)},
        {"what": f"{what}: CPU", "ratio": ours / plain, "target": 1.1, "cost": True, "detail": cpu},
        {"what": "Triton: cores in use while idle", "ratio": idle, "target": 0.02, "cost": True, "detail": memory},
    ]


class Turn(NamedTuple):
    """Seconds for PICTURES, through Triton and in the loop: of the clock, and of processors."""

    ours: float
    loop: float
    cpu: float
    loop_cpu: float


def throughput(turns: list[Turn]) -> dict[str, Any]:
    """The median ratio of both speeds, and the medians in words."""
    served, plain = (PICTURES / seconds for seconds in medians(turns)[:2])
    detail = f"{served:.0f} and {plain:.0f} per second, median of {len(turns)} turns"
    return {"ratio": statistics.median(t.loop / t.ours for t in turns), "target": 0.9, "detail": detail}


def medians(turns: list[Turn]) -> list[float]:
    """Of each field."""
    return [statistics.median(each) for each in zip(*turns, strict=True)]


async def compare(server: TritonServer, loop: Loop) -> list[Turn]:
    """Both in turns, after one to warm up."""
    images = np.random.default_rng(0).integers(0, 256, (PICTURES, SIDE, SIDE, 3), np.uint8)
    client, pid = Triton(server.address), server.process.process.pid
    turns: list[Turn] = []
    try:
        for _ in range(TURNS + 1):
            loop_before = cpu_seconds(loop.process.pid)
            plain, total = loop.turn()
            loop_cpu = cpu_seconds(loop.process.pid) - loop_before
            began, before, own = time.perf_counter(), cpu_seconds(pid), time.process_time()
            made = await client.infer("tower", {"image": images}, ["embedding"])
            cpu = cpu_seconds(pid) - before + time.process_time() - own
            turns.append(Turn(time.perf_counter() - began, plain, cpu, loop_cpu))
            assert np.isclose(made["embedding"].sum(), total, rtol=1e-3), "other answers than the loop's"
    finally:
        await client.close()
        loop.end()
    return turns[1:]
