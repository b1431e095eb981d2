"""The hands on a real Docker engine: what they do is compose's own, and they do nothing else."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from lodestream.errors import LodeError
from lodestream.scaling.policy import read_limits
from services.scaler.client import Asked
from services.scaler.containers import LABEL, Containers, engine, project_of
from services.scaler.hands import Door
from services.scaler.wire import LONGEST_LINE
from tests.compose.project import need_engine

PROJECT = f"lodestream-hands-{os.getpid()}"
FILE = """
x-sleeper: &sleeper
  image: nats:2.15.1-alpine
  entrypoint: [sleep, "900"]
  init: true
  read_only: true
  stop_grace_period: 5s
services:
  nats: {<<: *sleeper}
  extract:
    <<: *sleeper
    environment: {GREETING: hello}
    volumes: ["/work", "shared:/shared"]
    networks: [default, second]
    ports: ["127.0.0.1::4222"]
  fetch: {<<: *sleeper}
networks: {second: {}}
volumes: {shared: {}}
"""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    """An engine that compose can be used with."""
    need_engine()
    try:
        return engine()
    except LodeError as error:
        pytest.skip(f"it is not on this machine: {error}")


@pytest.fixture(scope="module")
def folder(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a project that is up."""
    folder = tmp_path_factory.mktemp("hands")
    (folder / "compose.yaml").write_text(FILE)
    try:
        up = compose(folder, "up", "-d", check=False)
        if "pull access denied" in up.stderr or "failed to resolve" in up.stderr:
            pytest.skip(f"its image is not here: {up.stderr}")
        assert up.returncode == 0, up.stderr
        yield folder
    finally:
        compose(folder, "down", "-v", "-t", "1", check=False)


def compose(folder: Path, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run compose on the project."""
    command = ["docker", "compose", "-p", PROJECT, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
    assert not check or done.returncode == 0, done.stderr
    return done


def ids(folder: Path, service: str) -> dict[str, str]:
    """What compose sees of a service: ids by names."""
    listed = compose(folder, "ps", "--no-trunc", "--format", "json", service).stdout.splitlines()
    return {each["Name"]: each["ID"] for each in map(json.loads, listed)}


@pytest.fixture
async def path(client: docker.DockerClient, folder: Path, tmp_path: Path) -> AsyncIterator[Path]:
    """The socket of hands for `extract` and `fetch`; each has one container again."""
    containers = Containers(client, PROJECT, read_limits("extract=1-3 fetch=1-2"))
    containers.scale("extract", 1)  # compose would leave the folders of those that go
    compose(folder, "up", "-d", "--scale", "extract=1", "--scale", "fetch=1", "-t", "1")
    path = tmp_path / "socket"
    serving = asyncio.create_task(Door(containers).serve(path))
    async with asyncio.timeout(20):
        while not path.exists():
            await asyncio.sleep(0.02)
    yield path
    serving.cancel()
    await asyncio.wait([serving])


async def test_a_copy_is_one_of_composes_own(path: Path, folder: Path, client: docker.DockerClient) -> None:
    hands = Asked(path)
    await hands.scale("extract", 3)
    assert await hands.counts() == {"extract": 3, "fetch": 1}
    assert path.stat().st_mode & 0o777 == 0o660
    there = ids(folder, "extract")
    assert set(there) == {f"{PROJECT}-extract-{number}" for number in (1, 2, 3)}
    greeting = compose(folder, "exec", "-T", "--index", "3", "extract", "sh", "-c", "touch /work/mine; echo $GREETING")
    assert greeting.stdout.strip() == "hello"
    compose(folder, "up", "-d", "--scale", "extract=3")
    assert ids(folder, "extract") == there, "compose takes them as they are"
    attributes = [client.containers.get(there[name]).attrs for name in sorted(there)]
    assert [sorted(each["NetworkSettings"]["Networks"]) for each in attributes] == [
        [f"{PROJECT}_default", f"{PROJECT}_second"]
    ] * 3
    assert [bool(port(each)) for each in attributes] == [True, False, False]
    own = [mount(each, "/work") for each in attributes]
    assert len(set(own)) == 3, "each has a folder of its own"
    assert {mount(each, "/shared") for each in attributes} == {f"{PROJECT}_shared"}
    await hands.scale("extract", 1)
    assert set(ids(folder, "extract")) == {f"{PROJECT}-extract-1"}
    left = {volume.name for volume in client.volumes.list()}
    assert left & set(own) == {own[0]}


def port(attributes: dict[str, Any]) -> Any:
    """Where a container is published."""
    return (attributes["NetworkSettings"]["Ports"] or {}).get("4222/tcp")


def mount(attributes: dict[str, Any], path: str) -> str:
    """The name of the volume at a path."""
    return str(next(each["Name"] for each in attributes["Mounts"] if each["Destination"] == path))


async def test_several_are_scaled_at_once(path: Path) -> None:
    hands = Asked(path)
    await asyncio.gather(hands.scale("extract", 2), hands.scale("fetch", 2), hands.scale("extract", 3))
    assert await hands.counts() == {"extract": 3, "fetch": 2}


async def test_a_copy_that_has_ended_is_started_and_what_was_switched_off_is_not(
    path: Path, folder: Path, client: docker.DockerClient
) -> None:
    hands = Asked(path)
    await hands.scale("fetch", 2)
    compose(folder, "kill", "fetch")
    assert await hands.counts() == {"extract": 1, "fetch": 0}
    with pytest.raises(LodeError, match="fetch has no container that runs; start it with: docker compose up -d fetch"):
        await hands.scale("fetch", 2)
    compose(folder, "start", "fetch")
    client.containers.get(f"{PROJECT}-fetch-2").kill()
    assert (await hands.counts())["fetch"] == 1
    await hands.scale("fetch", 2)
    assert (await hands.counts())["fetch"] == 2


REFUSED = {
    "another service": (b'{"service": "nats", "replicas": 2}', "'nats' may not be scaled"),
    "one that is not there": (b'{"service": "miner", "replicas": 2}', "'miner' may not be scaled"),
    "no service": (b'{"replicas": 2}', "'' may not be scaled"),
    "too many": (b'{"service": "extract", "replicas": 99}', "1 to 3 containers, not 99"),
    "none": (b'{"service": "extract", "replicas": 0}', "1 to 3 containers, not 0"),
    "fewer than none": (b'{"service": "extract", "replicas": -1}', "1 to 3 containers, not -1"),
    "yes": (b'{"service": "extract", "replicas": true}', "not understood"),
    "a number in words": (b'{"service": "extract", "replicas": "2"}', "not understood"),
    "a list": (b'{"service": ["extract"], "replicas": 2}', "not understood"),
    "more than that": (b'{"service": "extract", "replicas": 2, "image": "mine"}', "not understood"),
    "junk": (b"\x00\xff{{{", "not understood"),
    "nothing": (b"", "not understood"),
    "too much": (b'{"service": "' + b"x" * (2 * LONGEST_LINE), "not understood"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_everything_else_is_refused(path: Path, folder: Path, client: docker.DockerClient, case: str) -> None:
    line, words = REFUSED[case]
    before = [c.id for c in client.containers.list(filters={"label": f"{LABEL}.project={PROJECT}"})]
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(line + b"\n")
    answer = json.loads(await reader.readline())
    writer.close()
    assert words in answer["error"]
    assert "replicas" not in answer
    assert [c.id for c in client.containers.list(filters={"label": f"{LABEL}.project={PROJECT}"})] == before
    assert await Asked(path).counts() == {"extract": 1, "fetch": 1}, "and it goes on"


def test_the_project_is_that_of_its_own_container(client: docker.DockerClient, folder: Path) -> None:
    [container] = ids(folder, "nats").values()
    assert project_of(client, container[:12]) == PROJECT
    with pytest.raises(LodeError, match="is no container of a compose project"):
        project_of(client, "nobody")


async def test_hands_that_are_not_there_are_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LodeError, match=r"the hands do not answer.*docker compose logs hands"):
        await Asked(tmp_path / "socket").counts()


def test_down_takes_the_copies_along(client: docker.DockerClient, folder: Path) -> None:
    """The last: nothing is up after it."""
    Containers(client, PROJECT, read_limits("extract=1-3")).scale("extract", 2)
    compose(folder, "down", "-v", "-t", "1")
    left = client.containers.list(all=True, filters={"label": f"{LABEL}.project={PROJECT}"})
    assert left == []
    assert [volume.name for volume in client.volumes.list() if PROJECT in volume.name] == []
