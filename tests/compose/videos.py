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
FLOW = """
flow: {flow}
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, allow_hosts: ["{host}"]}}
  get:    {{type: fetch, from: find, allow_hosts: ["{host}"], per_host: 8}}
  frames: {{type: extract, from: get, every: 1s}}
"""


@cache
def encoded() -> bytes:
    """The clip's file; encoded once."""
    return CLIP.encode()


def put(site: Path, name: str, padding: int = 0) -> str:
    """A video of its own: the same pictures, and a box behind them that players pass over; its SHA-256."""
    box = name.encode().ljust(16 + padding, b".")
    data = encoded() + struct.pack(">I4s", 8 + len(box), b"free") + box
    (site / name).write_bytes(data)
    (site / name).chmod(0o644)
    return hashlib.sha256(data).hexdigest()


def deploy(project: Project, flow: str) -> None:
    """Put a flow to work on the project's site."""
    file = project.folder / f"{flow}.yaml"
    file.write_text(FLOW.format(flow=flow, host=project.address()))
    project.lode("flow", "deploy", str(file))


def publish(project: Project, flow: str, names: list[str]) -> dict[str, str]:
    """Put videos on the site and publish a seed for each; the digest of each by its name."""
    made = {name: put(project.site, name) for name in names}
    project.lode("seed", flow, *(f"http://{project.address()}/{name}" for name in names))
    return made


def wait_for(project: Project, query: str) -> list[dict[str, Any]]:
    """The rows of a query, once there are any."""
    deadline = time.monotonic() + PATIENCE
    while not (rows := project.sql(query)):
        assert time.monotonic() < deadline, f"nothing came of: {query}\n{project.logs()}"
        time.sleep(0.3)
    return rows


def check_mined(project: Project, flow: str, made: dict[str, str]) -> None:
    """Every video was stored once and whole, every picture of it too, and nothing was given up."""
    stored = project.sql(f"select url, sha256 from history.media where flow = '{flow}'")
    got = sorted((row["url"].rpartition("/")[2], row["sha256"]) for row in stored)
    assert got == sorted(made.items())
    shards = project.sql(f"select media_id, frames from history.shards where flow = '{flow}'")
    assert len({row["media_id"] for row in shards}) == len(shards) == len(made)
    assert {row["frames"] for row in shards} == {FRAMES}
    assert project.sql(f"from dead where flow = '{flow}'") == []
    assert project.sql(f"from rejects where flow = '{flow}'") == []
    pictures = project.sql(
        f"select time_ms, shard_key, byte_offset, byte_length from frames where flow = '{flow}' order by all"
    )
    assert len(pictures) == FRAMES * len(made)
