"""The stack in containers: how soon it mines, what it costs while idle, and 40 videos against the embedded stack.

Both fetch from the same container and are measured in one run; nothing where there is no Docker engine.
`python -m tests.bench.bench_compose`
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lodestream.bus import Bus, connect
from lodestream.demo.clips import Clip
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.local import Home, down, up
from proto import subjects
from tests.bench.bench_flow import VIDEOS, make_videos, mine, whole_flow
from tests.compose.project import PATIENCE, SERVICES, Project, project, why_not
from tests.compose.videos import EVERY, FLOW

SETTLE = 10.0
"""Seconds until memory is looked at."""
SERVERS = ("nats", "minio", "triton")
CLIP = Clip("soon", seconds=10, fps=30, width=1280, height=720, gop=30)


def stats(made: Project, service: str) -> dict[str, Any]:
    """What the engine has counted of a service's only container."""
    import docker

    return dict(docker.from_env().api.stats(made.container(service), stream=False))


def cpu_seconds(made: Project) -> float:
    """CPU seconds of all its containers until now, the site aside."""
    return sum(stats(made, name)["cpu_stats"]["cpu_usage"]["total_usage"] for name in SERVICES) / 1e9


def memory_mb(made: Project, service: str) -> float:
    """As `docker stats` has it: without files that were read and are not in use."""
    memory = stats(made, service)["memory_stats"]
    unused = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
    return float(memory["usage"] - unused) / 2**20


async def first_frame(made: Project, url: str) -> None:
    """Publish a seed and wait for a shard, once there is a server to ask."""
    bus = await connect(*made.stack().connection(), patience=PATIENCE)
    flow, problems = lint(FLOW.format(flow="soon", host=made.address(), extract=EVERY))
    assert flow, problems
    await deploy(bus.nc, flow)
    await bus.nc.jetstream().publish(subjects.seeds("soon"), url.encode())
    js, stream = bus.nc.jetstream(), subjects.stream("soon")
    async with asyncio.timeout(PATIENCE):
        while not (await js.stream_info(stream, subjects_filter="flow.soon.extract.>")).state.subjects:
            await asyncio.sleep(0.05)
    await bus.close()


def soon(made: Project) -> float:
    """Seconds from `up` of a project that has never been up to the first frame of a 10 s clip."""
    (made.site / "soon.mp4").write_bytes(CLIP.encode())
    began = time.perf_counter()
    made.compose("up", "-d", "--no-build", COMPOSE_PARALLEL_LIMIT="-1")
    asyncio.run(first_frame(made, f"http://{made.address()}/soon.mp4"))
    passed = time.perf_counter() - began
    made.until_healthy()
    return passed


async def _mine(made: Project, names: list[str]) -> None:
    bus: Bus = await connect(*made.stack().connection(), patience=PATIENCE)
    stored = await mine(bus, f"http://{made.address()}/", names)
    await bus.close()
    if stored != 5 * VIDEOS:
        raise SystemExit(f"{stored} outputs, not {5 * VIDEOS}")


def in_containers(made: Project, names: list[str]) -> tuple[float, float]:
    """CPU seconds and wall seconds of the flow in containers."""
    before, began = cpu_seconds(made), time.perf_counter()
    asyncio.run(_mine(made, names))
    wall = time.perf_counter() - began
    return cpu_seconds(made) - before, wall


def embedded(folder: Path, base: str, names: list[str]) -> tuple[float, float]:
    """The same of processes of this machine, on a directory."""
    home = Home(folder)
    up(home, detach=True)
    try:
        return asyncio.run(whole_flow(home, base, names))
    finally:
        down(home)


def run() -> list[dict[str, Any]]:
    """Rows {what, ratio, target, cost, detail}; none, and why, where there is no engine."""
    if why := why_not():
        print(f"not measured: {why}", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        made = stack.enter_context(project(f"lode-bench-{os.getpid()}", folder / "containers"))
        made.compose("build", "--quiet")
        names = make_videos(made.site)
        first = soon(made)
        time.sleep(SETTLE)
        memory = {name: memory_mb(made, name) for name in SERVICES if name not in SERVERS}
        used, wall = in_containers(made, names)
        alone, alone_wall = embedded(folder / "home", f"http://{made.address()}/", names)
    fetch = memory.pop("fetch")
    sizes = ", ".join(f"{name} {size:.0f}" for name, size in memory.items())
    detail = f"containers {used:.1f} CPU-s in {wall:.1f} s, embedded {alone:.1f} in {alone_wall:.1f} s, {VIDEOS} videos"
    what = "flow in containers on MinIO / embedded on a directory"
    return [
        _row("compose up to the first frame of a 10 s clip, s", first, 20),
        _row("largest Python service in a container, idle, MB", max(memory.values()), 80, sizes),
        _row("fetch in a container, idle, MB", fetch, 150),
        _row(f"{what}, CPU", used / alone, 1.15, detail),
        _row(f"{what}, wall", wall / alone_wall, 1.15, detail),
    ]


def _row(what: str, ratio: float, target: float, detail: str = "") -> dict[str, Any]:
    return {"what": what, "ratio": ratio, "target": target, "cost": True, "detail": detail}


if __name__ == "__main__":
    for row in run():
        print(row)
