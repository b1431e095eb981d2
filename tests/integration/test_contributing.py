"""CONTRIBUTING.md's example, taken out of the page and put to work: it is what a new contributor does first."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from lodestream.node import Node
from proto.messages import Rejected, Shard
from tests.support.engine import Bench, bench, eventually
from tests.support.servers import start_nats

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(?:python|markdown)\n(?:# |<!-- )(\S+)(?: -->)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The example's files, written as the page has them; by their path."""
    made = {}
    for name, text in _BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text()):
        made[name] = tmp_path / "example" / name
        made[name].parent.mkdir(parents=True, exist_ok=True)
        made[name].write_text(text)
    return made


@pytest.fixture
def node(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Its declaration, found by its place on the path alone."""
    monkeypatch.syspath_prepend(tmp_path / "example")
    for name in ("services.moving", "services.moving.node"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found: Node = import_module("services.moving.node").NODE
    return found


def run(*command: str, example: Path) -> subprocess.CompletedProcess[str]:
    """A command of Python's, in this environment, that sees the example beside our own code."""
    env = os.environ | {"PYTHONPATH": f"{example}{os.pathsep}{ROOT}"}
    return subprocess.run([sys.executable, "-m", *command], env=env, cwd=example, capture_output=True, text=True)


def test_the_page_has_the_four_files_and_a_node_of_40_to_120_lines(files: dict[str, Path]) -> None:
    assert list(files) == [
        "services/moving/__init__.py",
        "services/moving/node.py",
        "services/moving/README.md",
        "tests/unit/test_moving.py",
    ]
    assert 40 <= len(files["services/moving/node.py"].read_text().splitlines()) <= 120


def test_it_keeps_our_own_rules(files: dict[str, Path], tmp_path: Path) -> None:
    config = ("--config", str(ROOT / "pyproject.toml"), "--no-cache", ".")
    for command in (("ruff", "check"), ("ruff", "format", "--check")):
        done = run(*command, *config, example=tmp_path / "example")
        assert done.returncode == 0, done.stdout + done.stderr


def test_its_own_test_passes(files: dict[str, Path], tmp_path: Path) -> None:
    done = run("pytest", "-q", "tests/unit/test_moving.py", example=tmp_path / "example")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_command_line_knows_it(files: dict[str, Path], tmp_path: Path) -> None:
    done = run("lodestream.cli", "nodes", "moving", example=tmp_path / "example")
    assert done.returncode == 0, done.stderr
    for said in ("keeps the shards of frames in which something moves", "min_change", "kept", "rejected"):
        assert said in done.stdout


async def test_the_engine_runs_it(node: Node, tmp_path: Path) -> None:
    with start_nats(tmp_path) as server:
        async with bench(server.url, tmp_path) as made:
            await made.offer(await shard(made, "moves", [40, 90, 140]), await shard(made, "stands", [90, 90, 90]))
            await made.run(node)
            await eventually(lambda: both(made))
            kept, refused = sorted((await made.stored("flow.*.moving.>")).values(), key=lambda m: m.id)
    assert isinstance(kept, Shard)
    assert (kept.id, kept.time_ms) == ("moves", [0, 1000, 2000])
    assert isinstance(refused, Rejected)
    assert (refused.id, refused.reason) == ("stands", "still")


async def both(made: Bench) -> bool:
    return len(await made.stored("flow.*.moving.>")) == 2


async def shard(made: Bench, name: str, greys: list[int]) -> Shard:
    """A stored shard of frames of one grey each, one a second."""
    jpegs = [simplejpeg.encode_jpeg(np.full((36, 64, 3), grey, np.uint8)) for grey in greys]
    key, lengths = f"frames/{name}", [len(jpeg) for jpeg in jpegs]
    await made.objects.put(key, b"".join(jpegs))
    offsets = [sum(lengths[:i]) for i in range(len(lengths))]
    times = [1000 * i for i in range(len(greys))]
    return Shard(id=name, media_id=name, source="example.org", object_key=key, index=0, width=64, height=36,
                 time_ms=times, offset=offsets, length=lengths, sampler="every 1s")  # fmt: skip
