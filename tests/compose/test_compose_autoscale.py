"""The profile autoscale: workers come with a backlog and go after it, by way of a door that does nothing else."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.compose.project import PATIENCE, Project, docker, inspect
from tests.compose.videos import HEAVY, ONE_BY_ONE, check_mined, deploy, publish, until_fetched

VIDEOS, FRAMES = 40, 100
MOST = 3
SCALED = {f"LODE_SCALE_{kind}": "1-1" for kind in ("INTAKE", "DISCOVER", "FETCH", "RECORDS")}
SCALED |= {"LODE_SCALE_EXTRACT": f"1-{MOST}"}
TWO = ("scaler", "hands")
KNOCK = """
import json, socket, sys
said = []
for line in json.loads(sys.argv[1]):
    with socket.socket(socket.AF_UNIX) as door:
        door.connect("/run/hands/socket")
        door.sendall(line.encode("latin-1") + b"\\n")
        said.append(json.loads(door.makefile().readline()))
print(json.dumps(said))
"""
JUNK = {
    "\x00\xff{{{": "not understood",
    "GET /containers/json HTTP/1.1": "not understood",
    '{"service": "hands", "replicas": 2}': "'hands' may not be scaled",
    '{"service": "nats", "replicas": 1}': "'nats' may not be scaled",
    '{"service": "extract", "replicas": 4}': "1 to 3 containers, not 4",
    '{"service": "extract", "replicas": 0}': "1 to 3 containers, not 0",
    '{"service": "extract", "replicas": 2, "image": "mine"}': "not understood",
}

pytestmark = pytest.mark.timeout(480)


@pytest.fixture(scope="module")
def scaled(stack: Project) -> Iterator[Project]:
    """The stack, with the profile; without it again afterwards, and one container of each."""
    stack.compose("--profile", "autoscale", "up", "-d", "--no-build", "--wait", *TWO, **SCALED)
    yield stack
    stack.compose("--profile", "autoscale", "rm", "-sf", *TWO)
    stack.up("--scale", "extract=1", "extract")


def until(stack: Project, what: str, check: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What is checked for, once it is so."""
    deadline = time.monotonic() + patience
    while not (found := check()):
        assert time.monotonic() < deadline, f"never {what}\n{stack.logs(*TWO, 'extract')}"
        time.sleep(0.2)
    return found


def status(stack: Project) -> dict[str, Any]:
    """As programs see it."""
    return dict(json.loads(stack.lode("status", "--json").stdout))


def changes(stack: Project) -> list[dict[str, Any]]:
    """The last change of extract that the status tells of."""
    return [change for change in status(stack)["scaling"] if change["id"] == "extract"]


def test_a_backlog_brings_workers_that_go_after_it(scaled: Project) -> None:
    deploy(scaled, "auto", ONE_BY_ONE)
    scaled.lode("flow", "pause", "auto", "frames")
    made = publish(scaled, "auto", [f"auto-{n}.mp4" for n in range(VIDEOS)], HEAVY)
    until_fetched(scaled, "auto", VIDEOS)
    assert len(scaled.containers("extract")) == 1, "what is paused calls for nobody"
    assert changes(scaled) == []
    scaled.lode("flow", "resume", "auto", "frames")
    resumed = time.monotonic()
    until(scaled, "two workers", lambda: len(scaled.containers("extract")) > 1)
    print(f"a second worker after {time.monotonic() - resumed:.1f} s", file=sys.stderr)
    (change,) = until(scaled, "told", lambda: changes(scaled))
    assert change["before"] < change["after"] <= MOST
    assert change["reason"].startswith(f"{change['waiting']} wait, ")
    assert re.search(r"^extract \d -> \d, .*: \d+ wait, ", scaled.lode("status").stdout, re.MULTILINE)

    scaled.lode("wait", "auto", "--timeout", "150s")
    assert max(len(scaled.containers(name)) for name in ("fetch", "intake", "discover")) == 1
    check_mined(scaled, "auto", made, FRAMES)
    finished = time.monotonic()
    until(scaled, "one worker", lambda: len(scaled.containers("extract")) == 1, 3 * PATIENCE)
    print(f"one worker again after {time.monotonic() - finished:.1f} s", file=sys.stderr)
    until(scaled, "told of one", lambda: changes(scaled)[0]["after"] == 1)
    assert "would have done for" in changes(scaled)[0]["reason"]
    check_mined(scaled, "auto", made, FRAMES)


def test_junk_at_the_door_is_refused(scaled: Project) -> None:
    before = {one: inspect(one)["State"]["StartedAt"] for one in scaled.containers()}
    answers = scaled.python("scaler", KNOCK, json.dumps([*JUNK, "{}"]))
    for answer, words in zip(answers, JUNK.values(), strict=False):
        assert words in answer["error"]
        assert "replicas" not in answer
    assert answers[-1]["replicas"]["extract"] == 1, "and it goes on"
    assert {one: inspect(one)["State"]["StartedAt"] for one in scaled.containers()} == before


def test_only_the_scaler_reaches_the_door_and_the_door_reaches_nothing(scaled: Project) -> None:
    look = "import json, os; print(json.dumps([os.path.exists('/run/hands'), os.path.exists('/var/run/docker.sock')]))"
    found = {name: scaled.python(name, look) for name in ("scaler", "hands", "extract", "catalog", "house")}
    assert {name: what for name, what in found.items() if any(what)} == {"scaler": [True, False], "hands": [True, True]}
    networks = "import json, os; print(json.dumps(os.listdir('/sys/class/net')))"
    assert scaled.python("hands", networks) == ["lo"]
    for name in TWO:
        known = inspect(scaled.container(name))["HostConfig"]
        assert known["ReadonlyRootfs"]
        assert known["CapDrop"] == ["ALL"]
    outside = ("exec", "-u", "65534", scaled.container("scaler"), "python", "-c")
    said = docker(*outside, "import socket; socket.socket(1).connect('/run/hands/socket')", check=False)
    assert "PermissionError" in said.stderr
