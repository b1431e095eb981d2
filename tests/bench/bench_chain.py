"""The whole chain over 40 videos, download to boxes, against its kernels called as plain functions.

Kernels, one thread each, on every core at once: download with a SHA-256, sparse decode and JPEG encoding into shards;
of every frame decoding, six measures and both image towers; a brute-force search; the detector on what is unique. Both
sides are warm: models are loaded by a video before. Once with stand-ins that take a quarter of what the models take for
which they stand; once as they are: they take next to nothing, so that what surrounds them weighs most.
`python -m tests.bench.bench_chain`
"""

import asyncio
import os
import struct
import tarfile
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import simplejpeg
from PIL import Image

from lodestream.bus import Bus, connect
from lodestream.demo.shapes import Film, Scene, Thing
from lodestream.errors import LodeError
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.idle import until_idle
from lodestream.inference.features import normalised
from lodestream.inference.measures import measure
from lodestream.local import Home, connection, down, is_up, up
from lodestream.local.triton import lacks
from lodestream.models import standins
from lodestream.models.shelf import MODEL, Shelf
from proto import subjects
from services.detect.boxes import choose
from services.detect.detector import OUTPUTS, Detector, prepared
from services.extract.child import Task, extract
from services.extract.sampler import Sampler
from tests.bench.bench_flow import download
from tests.bench.cpu import cpu_seconds, settle
from tests.bench.static_site import static_site
from tests.bench.towers import weigh_down

VIDEOS, COPIES, SECONDS = 40, 5, 30
SIZE = {"fps": 30, "width": 1280, "height": 720, "bframes": 3, "gop": 250}
TEXTS, VECTORS, DETECTOR = "standin-siglip2", "standin-dinov3", "standin-grounding-dino"
LIMIT, EVERY = 600.0, 0.5
"""Seconds that all may take, and between looks."""
WEIGHTS = {TEXTS: 8.8, VECTORS: 2.3}
"""10^9 operations for a picture of 224 x 224: a quarter of what SigLIP 2 base and DINOv3 ViT-S take, which is twice
their 86 M and 21.6 M parameters for each of 196 patches, and their attention."""
REPEATS, SURE, LABELS = 0.999, 0.3, ["ball", "square"]
FLOW = f"""
flow: bench
nodes:
  seeds:  {{{{type: intake}}}}
  find:   {{{{type: discover, from: seeds, allow_hosts: ["{{host}}"]}}}}
  get:    {{{{type: fetch, from: find, allow_hosts: ["{{host}}"], per_host: 8}}}}
  frames: {{{{type: extract, from: get, every: 1s}}}}
  good:   {{{{type: filter, from: frames, keep: ["a ball"], threshold: 0, model: {TEXTS}}}}}
  new:    {{{{type: dedup, from: good.kept, model: {VECTORS}, threshold: {REPEATS}}}}}
  boxes:  {{{{type: detect, from: new.unique, labels: {LABELS}, model: {DETECTOR}, threshold: {SURE}}}}}
"""


class Made(NamedTuple):
    """Of one video by plain functions: CPU seconds, JPEGs, and their vectors for the search."""

    seconds: float
    jpegs: list[bytes]
    vectors: np.ndarray


def make_videos(folder: Path) -> list[str]:
    """Films of two moving things each; of every film some copies that differ behind the last box. One more first."""
    colours = ("red", "green", "blue", "yellow", "white", "black", "red", "blue")
    names = []
    for film in range(VIDEOS // COPIES):
        ball = Thing(colours[film], "ball", 0.2 + 0.03 * film, (0.1 * film, 0.2), (0.19, 0.07))  # type: ignore[arg-type]
        square = Thing(colours[film - 3], "square", 0.2, (0.5, 0.1 * film), (0.13, 0.17))  # type: ignore[arg-type]
        data = Film.of(f"film{film}", Scene("grey", (ball, square), SECONDS, noise=0), **SIZE).encode()
        for copy in range(COPIES + (film == 0)):
            names.append(f"{film}-{copy}.mp4")
            (folder / names[-1]).write_bytes(data + struct.pack(">I4sQ", 16, b"free", copy))
    return names


@cache
def session(path: Path) -> onnxruntime.InferenceSession:
    """A model in this process, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@cache
def detector(models: Path) -> Detector:
    """With the labels it is asked for."""
    return prepared(Shelf(models), DETECTOR, LABELS)


def pictures(jpegs: list[bytes], height: int, width: int) -> tuple[np.ndarray, list[Image.Image]]:
    """Decoded, scaled on the way where that helps, and stretched to a model's size; and as they were decoded."""
    sides = {"min_height": max(256, height), "min_width": max(256, width), "min_factor": 2}
    shown = [Image.fromarray(simplejpeg.decode_jpeg(data, **sides)) for data in jpegs]
    resized = [np.asarray(each.resize((width, height), Image.Resampling.BILINEAR)) for each in shown]
    return np.stack(resized), shown


def mined(base: str, name: str, folder: Path, models: Path) -> Made:
    """The kernels of one video, up to its vectors."""
    began = time.process_time()
    asyncio.run(download(base + name, folder / name))
    task = Task(str(folder / name), name, base + name, "bench", Sampler(every=1.0), 90, None, 100_000)
    shards = folder / f"{name}.shards"
    shards.mkdir()
    extract(task, shards, lambda *_, **__: None)
    jpegs = []
    for path in sorted(shards.iterdir()):
        with tarfile.open(path) as tar:
            jpegs += [tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")]  # type: ignore[union-attr]
    pixels, shown = pictures(jpegs, 224, 224)
    for each in shown:
        measure(each)
    session(models / f"{TEXTS}-image" / MODEL).run(["embedding"], {"image": pixels})
    pixels, _ = pictures(jpegs, 224, 224)
    found = session(models / f"{VECTORS}-image" / MODEL).run(["embedding"], {"image": pixels})[0]
    return Made(time.process_time() - began, jpegs, normalised(found))


def searched(made: list[Made]) -> tuple[float, list[list[bytes]]]:
    """Each frame against all that were kept before it; CPU seconds, and the frames of every video that are kept."""
    began = time.process_time()
    kept, count, new = np.zeros((SECONDS * len(made), made[0].vectors.shape[1]), np.float32), 0, []
    for one in made:
        new.append([])
        for jpeg, vector in zip(one.jpegs, one.vectors.astype(np.float32), strict=True):
            if not count or (kept[:count] @ vector).max() < REPEATS:
                kept[count] = vector
                count += 1
                new[-1].append(jpeg)
    return time.process_time() - began, new


def found(jpegs: list[bytes], models: Path) -> float:
    """CPU seconds of the detector and of choosing its boxes."""
    began, asked = time.process_time(), detector(models)
    if jpegs:
        pixels, _ = pictures(jpegs, asked.card.height, asked.card.width)
        run = session(models / asked.name / MODEL).run(list(OUTPUTS), dict(asked.inputs(pixels)))
        for logits, boxes in zip(*run, strict=True):
            choose(asked.scores(logits), boxes, np.full(2, SURE, np.float32), (1280, 720), 0.8, 100)
    return time.process_time() - began


def kernels(base: str, names: list[str], folder: Path, models: Path) -> tuple[float, int]:
    """CPU seconds of the kernels for all, and frames that are new. The first video is there to warm up."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        for turn in range(cores):  # as many at once as there are processes: each loads what it needs
            (folder / str(turn)).mkdir()
        warm = pool.map(mined, repeat(base), names[:1] * cores, map(folder.joinpath, "01234567"), repeat(models))
        list(pool.map(found, [one.jpegs for one in warm], repeat(models)))
        made = list(pool.map(mined, repeat(base), names[1:], repeat(folder), repeat(models)))
        search, new = searched(made)
        seen = sum(pool.map(found, new, repeat(models)))
    return sum(one.seconds for one in made) + search + seen, sum(map(len, new))


async def counts(bus: Bus) -> Counter[str]:
    """Outputs by port."""
    info = await bus.nc.jetstream().stream_info(subjects.stream("bench"), subjects_filter=subjects.everything("bench"))
    return Counter(subjects.parse(subject).port for subject in info.state.subjects or {})


def is_done(made: Counter[str], videos: int) -> bool:
    """Whether every video has come to its end: here that has one shard, of which all frames pass the filter."""
    return made["kept"] == made["unique"] + made[subjects.EMPTY] == videos and made["boxes"] == made["unique"]


async def chain(home: Home, base: str, names: list[str]) -> tuple[float, float]:
    """CPU seconds of every process of a running instance, and wall seconds, for all videos but the first."""
    state = is_up(home)
    assert state
    flow, problems = lint(FLOW.format(host=base.split("/")[2]))
    if flow is None:
        raise SystemExit(str(problems))
    settle(state.pid)
    bus = await connect(*connection(home), patience=5)
    await deploy(bus.nc, flow)
    used, wall, done = 0.0, 0.0, 0
    for some in (names[:1], names[1:]):
        before, began = cpu_seconds(state.pid), time.perf_counter()
        for name in some:
            await bus.nc.publish(subjects.seeds("bench"), (base + name).encode())
        await bus.nc.flush()
        done += len(some)
        async with asyncio.timeout(LIMIT):
            while not is_done(await counts(bus), done):
                await asyncio.sleep(EVERY)
        async for _ in until_idle(bus, "bench", LIMIT):  # the catalog, too; each look costs some
            pass
        used, wall = cpu_seconds(state.pid) - before, time.perf_counter() - began
    await bus.close()
    return used, wall


def install(models: Path, heavy: bool) -> None:
    """The stand-ins; `heavy`: with towers that cost something."""
    for model in (TEXTS, VECTORS, DETECTOR):
        card = standins.install(model, models)
        if heavy and model in WEIGHTS:
            weigh_down(models / card.parts["image"] / MODEL, WEIGHTS[model])


def measured(folder: Path, site: Path, names: list[str], heavy: bool) -> tuple[float, str]:
    """The chain's CPU against its kernels', and both in words."""
    home = Home(folder / "home")
    home.prepare()
    (folder / "plain").mkdir()
    install(home.models, heavy)
    up(home, detach=True)
    try:
        with static_site(site) as base:
            plain, new = kernels(base, names, folder / "plain", home.models)
            used, wall = asyncio.run(chain(home, base, names))
    finally:
        down(home)
    seen = f"{VIDEOS} videos of {SECONDS} s, {new} of {VIDEOS * SECONDS} frames unique"
    return used / plain, f"chain {used:.1f} CPU-s in {wall:.1f} s, kernels {plain:.1f} CPU-s, {seen}"


def run() -> list[dict[str, Any]]:
    """A row {what, ratio, target, cost, detail} for each weight. Raises LodeError where there is no Triton."""
    if lack := lacks():
        raise LodeError(lack)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        site = Path(name) / "site"
        site.mkdir()
        names = make_videos(site)
        for heavy, what in ((True, "towers a quarter as heavy as real ones"), (False, "on stand-ins")):
            folder = Path(name) / str(heavy)
            folder.mkdir()
            ratio, detail = measured(folder, site, names, heavy)
            what = f"whole chain / its kernels, CPU; {what}"
            rows.append({"what": what, "ratio": ratio, "target": 1.25, "cost": True, "detail": detail})
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
