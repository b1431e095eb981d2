"""Videos for a project's site, flows that mine them, and what must have come of them."""

import hashlib
import struct
import time
from functools import cache
from pathlib import Path
from typing import Any

from lodestream.demo.clips import Clip
from tests.compose.project import PATIENCE, Project

CLIP = Clip("container", seconds=4, fps=10, width=192, height=96, gop=10)
FRAMES = 4
EVERY = "every: 1s"
HEAVY = Clip("heavy", seconds=20, fps=30, width=1280, height=720, gop=600)
"""About a second of one core, where five frames of each second are asked for."""
ONE_BY_ONE = "every: 200ms, concurrency: 1"
"""As slow as a worker can be told to be, whatever the machine."""
FLOW = """
flow: {flow}
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, allow_hosts: ["{host}"]}}
  get:    {{type: fetch, from: find, allow_hosts: ["{host}"], per_host: 8}}
  frames: {{type: extract, from: get, {extract}}}
"""


@cache
def encoded(clip: Clip) -> bytes:
    """Its file; encoded once."""
    return clip.encode()


def put(site: Path, name: str, padding: int = 0, clip: Clip = CLIP) -> str:
    """A video of its own: the same pictures, and a box behind them that players pass over; its SHA-256."""
    box = name.encode().ljust(16 + padding, b".")
    data = encoded(clip) + struct.pack(">I4s", 8 + len(box), b"free") + box
    (site / name).write_bytes(data)
    (site / name).chmod(0o644)
    return hashlib.sha256(data).hexdigest()


def deploy(project: Project, flow: str, extract: str = EVERY) -> None:
    """Put a flow to work on the project's site; `extract` has that node's settings."""
    file = project.folder / f"{flow}.yaml"
    file.write_text(FLOW.format(flow=flow, host=project.address(), extract=extract))
    project.lode("flow", "deploy", str(file))


def publish(project: Project, flow: str, names: list[str], clip: Clip = CLIP) -> dict[str, str]:
    """Put videos on the site and publish a seed for each; the digest of each by its name."""
    made = {name: put(project.site, name, clip=clip) for name in names}
    project.lode("seed", flow, *(f"http://{project.address()}/{name}" for name in names))
    return made


def wait_for(project: Project, query: str) -> list[dict[str, Any]]:
    """The rows of a query, once there are any."""
    deadline = time.monotonic() + PATIENCE
    while not (rows := project.sql(query)):
        assert time.monotonic() < deadline, f"nothing came of: {query}\n{project.logs()}"
        time.sleep(0.3)
    return rows


def until_fetched(project: Project, flow: str, count: int) -> None:
    """Wait until so many videos of a flow are stored."""
    deadline = time.monotonic() + PATIENCE
    while len(project.sql(f"select 1 from media where flow = '{flow}'")) < count:
        assert time.monotonic() < deadline, f"not all of {flow} came\n{project.logs()}"
        time.sleep(0.3)


def check_mined(project: Project, flow: str, made: dict[str, str], frames: int = FRAMES) -> None:
    """Every video was stored once and whole, every picture of it too, and nothing was given up."""
    stored = project.sql(f"select url, sha256 from history.media where flow = '{flow}'")
    got = sorted((row["url"].rpartition("/")[2], row["sha256"]) for row in stored)
    assert got == sorted(made.items())
    shards = project.sql(f"select media_id, frames from history.shards where flow = '{flow}'")
    assert len({row["media_id"] for row in shards}) == len(shards) == len(made)
    assert {row["frames"] for row in shards} == {frames}
    assert project.sql(f"from dead where flow = '{flow}'") == []
    assert project.sql(f"from rejects where flow = '{flow}'") == []
    pictures = project.sql(
        f"select time_ms, shard_key, byte_offset, byte_length from frames where flow = '{flow}' order by all"
    )
    assert len(pictures) == frames * len(made)
