"""200 plain MP4s of 2 MB over loopback, 16 at once: hashed, probed and stored, against a loop that only hashes them.

`python -m tests.bench.bench_fetch`; CPU of the client's processes, the site in another; in turns, medians of five.
"""

import asyncio
import gc
import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from lodestream.demo.clips import Clip
from proto.messages import Media
from tests.bench.cpu import cpu_seconds
from tests.bench.static_site import static_site
from tests.support.fetching import Fetching, fetching

COUNT, AT_ONCE, ROUNDS, SIZE = 200, 16, 5, 2 << 20
PUBLISHED = 14.4
"""Videos a second and core: what video2dataset publishes for its downloads."""
CLIP = Clip("bench", seconds=10, width=640, height=360, options=(("crf", "12"),))


def write_files(folder: Path) -> None:
    """One clip, filled up to its size by a last box that no demuxer reads, whose end is different in each."""
    clip = CLIP.encode()
    clip += (SIZE - len(clip)).to_bytes(4, "big") + b"free" + bytes(SIZE - len(clip) - 16)
    for number in range(COUNT):
        (folder / f"{number}.mp4").write_bytes(clip + number.to_bytes(8, "big"))


async def _at_once(one: Callable[[int], Awaitable[None]]) -> None:
    numbers = iter(range(COUNT))

    async def work() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def _bare(base: str) -> float:
    """CPU seconds."""
    digests = set()
    async with aiohttp.ClientSession() as session:

        async def one(number: int) -> None:
            sha256 = hashlib.sha256()
            async with session.get(f"{base}{number}.mp4") as response:
                async for data in response.content.iter_any():
                    sha256.update(data)
            digests.add(sha256.hexdigest())

        began = time.process_time()
        await _at_once(one)
        used = time.process_time() - began
    assert len(digests) == COUNT
    return used


async def _ours(base: str, node: Fetching, turn: int) -> tuple[float, float]:
    """CPU seconds of the service and of its children."""
    port = base.split(":")[2].strip("/")
    made: list[Media] = []

    async def one(number: int) -> None:
        url = f"{base}{number}.mp4"
        given = {"per_host": AT_ONCE, "allow_hosts": [f"127.0.0.1:{port}"]}
        made.append(await node.fetch(url, f"web-{turn}-{number}", flow=f"round{turn}", **given))

    zygote = node.state._web._children._link.process.pid
    began, children = time.process_time(), cpu_seconds(zygote)
    await _at_once(one)
    used = time.process_time() - began, cpu_seconds(zygote) - children
    assert len({media.sha256 for media in made}) == COUNT
    assert {(media.codec, media.damage) for media in made} == {("h264", "")}
    return used


async def _measure(folder: Path) -> dict[str, float]:
    site, home = folder / "site", folder / "home"
    site.mkdir()
    home.mkdir()
    write_files(site)
    rounds: dict[str, list[float]] = {"bare": [], "service": [], "children": []}
    with static_site(site) as base:
        async with fetching(home) as node:
            await _ours(base, node, -1)  # starts the children
            gc.freeze()
            gc.set_threshold(20_000, 50, 50)  # as a worker has it
            for turn in range(ROUNDS):
                shutil.rmtree(home / "objects" / "media")  # so that a round does not pay for the memory of the last
                rounds["bare"].append(await _bare(base))
                service, children = await _ours(base, node, turn)
                rounds["service"].append(service)
                rounds["children"].append(children)
    return {name: statistics.median(values) / COUNT for name, values in rounds.items()}


def run() -> list[dict[str, Any]]:
    """Rows {what, ratio, target, cost, detail}."""
    with tempfile.TemporaryDirectory() as folder:
        cpu = uvloop.run(_measure(Path(folder)))
    ours = cpu["service"] + cpu["children"]
    detail = ", ".join(f"{name} {1000 * value:.2f} ms" for name, value in cpu.items())
    return [
        {
            "what": "200 plain files: fetch / bare download and hash, CPU",
            "ratio": ours / cpu["bare"],
            "target": 1.6,
            "cost": True,
            "detail": detail,
        },
        {
            "what": "videos/s/core: fetch / video2dataset's published 14.4",
            "ratio": 1 / ours / PUBLISHED,
            "target": 1.0,
            "detail": f"{1 / ours:.0f} videos/s/core",
        },
    ]


if __name__ == "__main__":
    for row in run():
        print(row)
