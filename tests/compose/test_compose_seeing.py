"""What looks at frames, in containers: models are pulled from outside, Triton may die, and nobody else reaches it."""

import json
import time
from typing import Any

import pytest

from lodestream.demo.shapes import Film, Scene, Thing, blue_square, red_ball
from tests.compose.project import PATIENCE, SEEING, Project, inspect
from tests.compose.videos import encoded, wait_for

STANDINS = ("standin-siglip2", "standin-dinov3", "standin-grounding-dino")
SIZE: dict[str, Any] = {"width": 640, "height": 360}
BALL = Film.of("ball", red_ball(), **SIZE)
SQUARE = Film.of("square", blue_square(), **SIZE)
BOTH = Film.of("both", Scene("white", (Thing("red", "ball"), Thing("yellow", "square", 0.2, (0.9, 0.1)))), **SIZE)
FLOW = """
flow: seeing
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, allow_hosts: ["{host}"]}}
  get:    {{type: fetch, from: find, allow_hosts: ["{host}"]}}
  frames: {{type: extract, from: get, every: 1s}}
  good:   {{type: filter, from: frames, model: standin-siglip2, keep: ["a red ball"]}}
  unique: {{type: dedup, from: good.kept, model: standin-dinov3}}
  boxes:  {{type: detect, from: unique.unique, model: standin-grounding-dino, labels: ["red ball"]}}
"""
REACH = """
import json, os, socket
found = {"socket": os.path.exists("/run/triton/grpc:1"), "models": os.path.isdir("/models")}
try:
    socket.socket(socket.AF_UNIX).connect("/run/triton/grpc:1")
    found["answers"] = True
except OSError as error:
    found["answers"] = type(error).__name__
try:
    open("/models/x", "w")
    found["writes"] = True
except OSError as error:
    found["writes"] = type(error).__name__
print(json.dumps(found))
"""

pytestmark = pytest.mark.timeout(480)


def put(stack: Project, name: str, film: Film) -> str:
    """A film on the site; its URL."""
    (stack.site / name).write_bytes(encoded(film) + name.encode().rjust(40, b"\0"))
    (stack.site / name).chmod(0o644)
    return f"http://{stack.address()}/{name}"


def waits(stack: Project) -> str:
    """What the filter waits for, in words."""
    (flow,) = [flow for flow in json.loads(stack.lode("status", "--json").stdout)["flows"] if flow["flow"] == "seeing"]
    return str(next(node["waits_for"] for node in flow["nodes"] if node["name"] == "good"))


def until_waits_for(stack: Project, words: str) -> None:
    """Wait until the status says so."""
    deadline = time.monotonic() + PATIENCE
    while words not in (said := waits(stack)):
        assert time.monotonic() < deadline, f"{said}\n{stack.logs('filter', 'triton')}"
        time.sleep(0.5)


def outcome(stack: Project) -> list[tuple[str, int]]:
    """Boxes by the film's name and frame."""
    joined = "boxes join media using (flow, media_id) where boxes.flow = 'seeing' order by all"
    rows = stack.sql(f"select media.url, boxes.time_ms from {joined}")
    return [(row["url"].rpartition("/")[2], row["time_ms"]) for row in rows]


def test_frames_are_looked_at_once_there_are_models_and_whoever_dies(stack: Project) -> None:
    file = stack.folder / "seeing.yaml"
    file.write_text(FLOW.format(host=stack.address()))
    stack.lode("flow", "deploy", str(file))
    stack.lode("seed", "seeing", put(stack, "ball.mp4", BALL), put(stack, "square.mp4", SQUARE))
    wait_for(stack, "from (select count(*) as n from shards where flow = 'seeing') where n = 2")
    until_waits_for(stack, "lode models pull standin-siglip2")
    made = stack.lode("models", "pull", *STANDINS).stdout
    assert "made standin-siglip2" in made
    assert list(stack.models.glob("standin-dinov3*")), "in the folder that the stack was given"
    stack.lode("wait", "seeing", "--timeout", "150s")
    first = outcome(stack)
    assert {name for name, _ in first} == {"ball.mp4"}, stack.lode("status").stdout

    stack.hasten("seeing")
    for number, service in enumerate(("triton", *SEEING)):
        stack.lode("seed", "seeing", put(stack, f"both-{number}.mp4", BOTH))
        wait_for(stack, f"from media where flow = 'seeing' and url like '%both-{number}.mp4'")
        stack.kill(service)
    stack.until_healthy()
    stack.lode("wait", "seeing", "--timeout", "200s")
    assert stack.sql("from dead where flow = 'seeing'") == []
    later = outcome(stack)
    assert later[: len(first)] == first
    names = {name for name, _ in later} - {"ball.mp4"}
    assert len(names) == 1, "of pictures that are the same, the first alone is new"
    kept = stack.sql("select count(distinct media_id) as videos from kept where flow = 'seeing'")
    assert kept == [{"videos": 5}]


def test_triton_is_reached_by_those_who_look_and_nobody_writes_models(stack: Project) -> None:
    for service in SEEING:
        assert stack.python(service, REACH) == {"socket": True, "models": True, "answers": True, "writes": "OSError"}
    nothing = {"socket": False, "models": False, "answers": "FileNotFoundError", "writes": "FileNotFoundError"}
    for service in ("fetch", "extract", "catalog", "house"):
        assert stack.python(service, REACH) == nothing
    assert inspect(stack.container("triton"))["HostConfig"]["NetworkMode"] == "none"
    assert stack.python("triton", REACH)["writes"] == "OSError"
    look = "import json, os; seen = os.stat('/run/triton/grpc:1'); print(json.dumps([seen.st_gid, seen.st_mode & 7]))"
    assert stack.python("triton", look) == [11006, 0], "its group alone"
