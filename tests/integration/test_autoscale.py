"""A whole instance under --autoscale, with a node type that is slow and costs nothing.

The supervisor reads that type as well as its workers do: with it comes less patience than it has otherwise.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SLOW = '''
import asyncio
from collections.abc import AsyncIterator
from lodestream.job import Job
from lodestream.node import Node, Output, Settings
from lodestream.scaling import keep, policy
from proto.messages import Candidate, Seed

keep.EVERY, policy.SETTLE, policy.TOO_LONG, policy.CALM = 0.5, 1.0, 4.0, 6.0

async def wait(seed: Seed, job: Job) -> AsyncIterator[Output]:
    """Half a second for each."""
    await asyncio.sleep(0.5)
    yield "out", Candidate(id=seed.id, url="https://example.org", source="example.org", seed=seed.id)

NODE = Node(type="slow", summary="is slow", takes=(Seed,), gives={"out": Candidate}, settings=Settings, handler=wait,
            concurrency=1)
'''
FLOW = "flow: f\nnodes:\n  seeds: {type: intake}\n  slow: {type: slow, from: seeds}\n"
SEEDS = 30
OTHERS = ("discover", "fetch", "extract", "records")
PATIENCE = 120.0
"""Seconds until what must come has come, on a machine with a lot else to do."""

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: there is nothing to scale to"),
]

Lode = Callable[..., str]


@pytest.fixture
def lode(tmp_path: Path) -> Iterator[Lode]:
    """Runs `lode` with a home of its own, which knows the slow type."""
    folder = tmp_path / "more" / "services" / "slow"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "node.py").write_text(SLOW)
    (tmp_path / "f.yaml").write_text(FLOW)
    env = os.environ | {"LODE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path / "more")}

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "lodestream.cli", *words]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield run
    run("down")


def until(lode: Lode, what: str, check: Callable[[Any], bool]) -> Any:
    """The status once it is so; fails with the last one where it never is."""
    deadline = time.monotonic() + PATIENCE
    while not check(status := json.loads(lode("status", "--json"))):
        assert time.monotonic() < deadline, f"never {what}: {status}"
        time.sleep(0.5)
    return status


def workers(status: Any) -> set[str]:
    """The processes of the slow type that run."""
    running = {process["name"] for process in status["processes"] if process["state"] == "running"}
    return {name for name in running if name.startswith("slow")}


def test_a_backlog_makes_a_second_worker_which_is_gone_after_it(lode: Lode) -> None:
    lode("up", "-d", "--autoscale", *(word for kind in OTHERS for word in ("--scale", f"{kind}=0")))
    lode("flow", "deploy", "f.yaml")
    status = json.loads(lode("status", "--json"))
    assert (workers(status), status["scaling"]) == ({"slow"}, [])

    lode("seed", "f", *(f"number {n}" for n in range(SEEDS)))
    status = until(lode, "two", lambda status: len(workers(status)) >= 2 and status["scaling"])
    [change] = status["scaling"]
    assert change["id"] == "slow"
    assert change["before"] < change["after"] <= 2 * change["before"]
    assert change["reason"].startswith(f"{change['waiting']} wait, ")
    told = lode("status")
    assert re.search(r"^slow \d+ -> \d+, .*: \d+ wait, ", told, re.MULTILINE), told
    assert "slow-2" in told
    assert {process["name"] for process in status["processes"]}.isdisjoint(OTHERS), "none was asked for"

    status = until(lode, "one", lambda status: workers(status) == {"slow"})
    [flow] = status["flows"]
    assert flow["messages"] == 2 * SEEDS, "each was done, and given once"
    assert [(node["waiting"], node["in_flight"]) for node in flow["nodes"]] == [(0, 0)] * 2
    status = until(lode, "told", lambda status: status["scaling"][0]["after"] == 1)
    assert status["scaling"][0]["reason"].startswith("nothing waits, and 1 would have done for")
    assert {process["name"] for process in status["processes"]}.isdisjoint({"slow-2", "slow-3"})
    assert [process["restarts"] for process in status["processes"]] == [0] * len(status["processes"])
