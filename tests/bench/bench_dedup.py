"""Near duplicates: a static shot against a batch pass of FAISS, the cost of a frame against a bare search, a restart.

What dedup is measured with is the whole of it but vectors and messages: shards in, a ledger on disk, verdicts with
names out. The bare search keeps nothing, names nobody, and lies in memory.
`python -m tests.bench.bench_dedup [KEPT ...]`
"""

import lodestream.lean  # isort: skip  # noqa: F401
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from lodestream.job import Parts
from lodestream.ledger.pack import TIMES, Judged, packed
from lodestream.objects import Objects, open_objects
from proto import ids, keys
from proto.messages import encode
from services.dedup.cosine import usable
from services.dedup.memory import VECTORS, Ask
from services.dedup.project import Form, Project
from services.dedup.sketches import Sketches
from services.dedup.vectors import ROWS, Vectors
from tests.bench.peers.bare_dedup import Bare
from tests.support.frames import Alone
from tests.support.near_frames import again, spread, static, unit

DIM, THRESHOLD, NEIGHBOURS = 768, 0.92, 50
FRAMES, SCENES, SHARD, TOGETHER = 30_000, 51, 200, 4
"""Of the static shot; frames of a shard; shards that wait at the same time."""
KEPT, ROUNDS, VIDEOS = (100_000, 1_000_000), 3, 40
SECONDS = 10.0
RECIPE, ORIGIN = "aaaaaaaa", "bench"
FORM = Form("bench", "node", "f0f0f0f0", None, THRESHOLD, DIM)
COMMON = 0.55 * DIM**-0.5
"""What all pictures have in common, as image features do."""


def videos(rng: np.random.Generator, count: int) -> np.ndarray:
    """Videos of 200 frames: scenes that drift; a tenth are uploads of one before, coded anew."""
    made: list[np.ndarray] = []
    for _ in range(count):
        drift = 0.16 * spread(rng, 200, DIM).cumsum(0) + 0.5 * spread(rng, 1, DIM)
        x = unit(0.6 * spread(rng, 8, DIM).repeat(25, 0) + drift + 0.6 * DIM**-0.5).astype(np.float16)
        known = made and rng.random() < 0.1
        made.append(again(rng, made[rng.integers(len(made))], rng.uniform(0.93, 0.99)) if known else x)
    return np.vstack(made)


def stock(rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """Kept frames that are unlike each other, some thousands at a time."""
    for start in range(0, count, ROWS // 8):
        size = min(ROWS // 8, count - start)
        yield unit(0.65 * spread(rng, size, DIM) + COMMON).astype(np.float16)


def asks(x: np.ndarray, name: str) -> list[Ask]:
    """Shards of one video each."""
    made = []
    for start in range(0, len(x), SHARD):
        rows, media = x[start : start + SHARD], f"web-{name}-{start}"
        entity, times = ids.entity(ids.shard_id(media, 0), RECIPE), [1000 * place for place in range(len(rows))]
        made.append(Ask(entity, RECIPE, media, "", list(range(len(rows))), times, [rows], usable(rows)))
    return made


@asynccontextmanager
async def project(folder: Path) -> AsyncIterator[Project]:
    """A worker's hands on the project, with an empty memory."""
    parts = Parts(open_objects(f"file://{folder}/objects"), Alone(), folder, structlog.get_logger())  # type: ignore[arg-type]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        made = Project(FORM, parts, pool)
        yield made
        await made.close()


async def judge(on: Project, waiting: list[Ask]) -> int:
    """As many at once as wait; how many frames are new."""
    new = 0
    for start in range(0, len(waiting), TOGETHER):
        some = (on.judge(ask, frozenset((RECIPE,))) for ask in waiting[start : start + TOGETHER])
        new += sum(len(verdict.unique) for verdict in await asyncio.gather(*some))
    return new


def faiss() -> Any | None:
    """The rival, where it is installed."""
    try:
        return import_module("faiss")
    except ImportError:
        return None


def batch_pass(peer: Any, x: np.ndarray) -> int:
    """Neighbours of all among all, then greedy removal; how many are left."""
    index, gone = peer.IndexFlatIP(DIM), np.zeros(len(x), bool)
    index.add(x)
    for place, (similar, other) in enumerate(zip(*index.search(x, NEIGHBOURS), strict=True)):
        if not gone[place]:
            gone[other[(similar >= THRESHOLD) & (other != place)]] = True
    return int((~gone).sum())


async def static_shot() -> list[dict[str, Any]]:
    """Both on the same frames, in turns."""
    x, peer = static(np.random.default_rng(0), SCENES, FRAMES, DIM), faiss()
    ours, theirs, left, rest = [], [], 0, 0
    for _ in range(2 if peer else 1):
        with tempfile.TemporaryDirectory() as folder:
            async with project(Path(folder)) as on:
                started = time.perf_counter()
                left = await judge(on, asks(x, "still"))
                ours.append(time.perf_counter() - started)
        if peer:
            started = time.perf_counter()
            rest = batch_pass(peer, x.astype(np.float32))
            theirs.append(time.perf_counter() - started)
    said = f"{left} left of {FRAMES:,} in {min(ours):.2f} s"
    rows = [{"what": "static shot: frames left", "ratio": left, "target": SCENES, "cost": True, "detail": said}]
    if not peer:
        print("no faiss: pip install faiss-cpu beside the environment, to measure against it", file=sys.stderr)
        return rows
    detail = f"{said}; FAISS {min(theirs):.2f} s, {rest} left"
    ratio = min(theirs) / min(ours)
    return [*rows, {"what": "static shot: FAISS batch pass / dedup", "ratio": ratio, "target": 10.0, "detail": detail}]


async def fill(folder: Path, count: int) -> Bare:
    """A ledger with so many kept frames, as it is after they came one by one; and the bare search with them."""
    objects, prefix = open_objects(f"file://{folder}/objects"), FORM.prefix
    await objects.create(keys.ledger_origin(prefix), ORIGIN.encode())
    bare, number, waiting = Bare(DIM, THRESHOLD, os.cpu_count() or 1), 0, list[np.ndarray]()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        vectors, sketches = Vectors(DIM, THRESHOLD, pool), Sketches(objects, prefix)
        for rows in stock(np.random.default_rng(1), count):
            bare.add(rows)
            vectors.add(rows)
            waiting.append(rows)
            if sum(map(len, waiting)) >= ROWS:
                number = await _segment(objects, number, waiting)
        if waiting:
            await _segment(objects, number, waiting)
        await sketches.keep_basis(vectors)
    return bare


async def _segment(objects: Objects, number: int, waiting: list[np.ndarray]) -> int:
    """What comes together after a while: shards of which a fifth is kept, and the verdicts on the rest."""
    said, rows = [], np.concatenate(waiting)
    waiting.clear()
    for start in range(0, len(rows), SHARD // 5):
        media, kept = f"web-{number}-{start}", min(SHARD // 5, len(rows) - start)
        repeats = [{"index": i, "frame": f"{media}_0", "similarity": 0.95, "by": "vectors"} for i in range(kept, SHARD)]
        verdict = encode({"unique": list(range(kept)), "repeats": repeats})
        said.append((Judged(ids.entity(ids.shard_id(media, 0), RECIPE), RECIPE, media, "", kept), verdict))
    arrays = {TIMES: ([np.arange(len(rows)).tobytes()], 8), VECTORS: ([rows.tobytes()], 2 * DIM)}
    last = number + len(said) // TOGETHER
    data = packed(ORIGIN, number, last, said, arrays)
    await objects.create(keys.ledger_segment(FORM.prefix, number, last), data)
    return last + 1


async def at(count: int) -> list[dict[str, Any]]:
    """A restart, and the cost of a frame, with so many kept."""
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare = await fill(folder, count)
        restarts, ours, theirs = [], [], []
        for turn in range(ROUNDS):
            async with project(folder) as on:
                started = time.perf_counter()
                await judge(on, asks(videos(rng, 1), f"first-{turn}"))
                restarts.append(time.perf_counter() - started)
                x = videos(rng, VIDEOS)
                waiting, began = asks(x, f"{count}-{turn}"), _now()
                new = await judge(on, waiting)
                ours.append(_since(began, len(x)))
            began = _now()
            kept = sum(int(bare.decide(x[i : i + TOGETHER * SHARD]).sum()) for i in range(0, len(x), TOGETHER * SHARD))
            theirs.append(_since(began, len(x)))
            if abs(kept - new) > len(x) / 100:
                raise SystemExit(f"{new} frames are new, and {kept} to the bare search")
    took = [f"{1e6 * min(t)[0]:.0f} us ({1e6 * min(clock for _, clock in t):.0f} by the clock)" for t in (ours, theirs)]
    detail = f"{' and '.join(took)} a frame, best of {ROUNDS}"
    what = f"at {count:,} kept: CPU of a frame, ledger included / bare search"
    cost = {"what": what, "ratio": min(ours)[0] / min(theirs)[0], "target": 1.3, "cost": True, "detail": detail}
    said = f"{restarts[-1]:.2f} s to the first verdict, {restarts[0]:.2f} s where sketches were not kept"
    what = f"10 s / restart at {count:,} kept"
    return [cost, {"what": what, "ratio": SECONDS / restarts[-1], "target": 1.0, "detail": said}]


def _now() -> tuple[float, float]:
    """CPU seconds of all threads, and the clock."""
    return time.process_time(), time.perf_counter()


def _since(began: tuple[float, float], frames: int) -> tuple[float, float]:
    """Seconds for each frame."""
    cpu, clock = _now()
    return (cpu - began[0]) / frames, (clock - began[1]) / frames


async def _all(kept: tuple[int, ...]) -> list[dict[str, Any]]:
    return [row for rows in [await static_shot(), *[await at(count) for count in kept]] for row in rows]


def run(kept: tuple[int, ...] = KEPT) -> list[dict[str, Any]]:
    """Rows {what, ratio, target, cost, detail}."""
    return asyncio.run(_all(kept))


if __name__ == "__main__":
    for row in run(tuple(map(int, sys.argv[1:])) or KEPT):
        print(row)
