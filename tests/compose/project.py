"""A project of containers for tests: the real compose.yaml under a name and ports of its own, and a site inside."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lodestream.bus import connect
from lodestream.compose.stack import ComposeStack
from lodestream.flow.consumers import Info, infos
from lodestream.stack import VARIABLE
from lodestream.streams import SECOND, ask
from proto import subjects
from tests.support.cli import Ended, run_lode
from tests.support.servers import free_port

ROOT = Path(__file__).parents[2]
FILES = ("compose.yaml", "tests/compose/site.yaml")
WANTED = "LODE_TEST_COMPOSE"
"""Set to 1 where an engine must be there: without it the tests are skipped where none is."""
PORTS = ("LODE_NATS_PORT", "LODE_MINIO_PORT", "LODE_QUACK_PORT")
SEEING = ("filter", "dedup", "detect")
WORKERS = ("intake", "discover", "fetch", "extract", "records", *SEEING)
SERVICES = ("nats", "minio", "house", *WORKERS, "triton", "catalog")
PATIENCE = 90.0
"""Seconds that anything may take on a loaded machine."""
SITE_PORT = 8000


def why_not() -> str:
    """Why no project can be had on this machine; empty where one can."""
    if not shutil.which("docker"):
        return "no program docker"
    for command, lack in ((["info"], "no Docker engine answers"), (["compose", "version"], "no docker compose")):
        done = subprocess.run(["docker", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{lack}: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}"
    return ""


def need_engine() -> None:
    """Skip where there is no engine, or fail where LODE_TEST_COMPOSE says that one must be there."""
    if not (why := why_not()):
        return
    if os.environ.get(WANTED) == "1":
        pytest.fail(f"{why}, and {WANTED} is set")
    pytest.skip(why)


def docker(*arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `docker`; fails, with what it said, unless it ends well."""
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done


class Project:
    """Containers of one name; `folder` has the site's files and is the command line's home."""

    def __init__(self, name: str, folder: Path):
        self.name, self.folder, self.site = name, folder, folder / "site"
        self.site.mkdir(parents=True, exist_ok=True)
        self.site.chmod(0o755)
        self.models = folder / "models"
        self.models.mkdir(exist_ok=True)
        self.models.chmod(0o755)
        self.env = {port: str(free_port()) for port in PORTS}
        self.env |= {"LODE_TEST_SITE": str(self.site), "LODE_MODELS": str(self.models)}

    def compose(self, *arguments: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` on it, with more in its environment where `env` says so."""
        files = [word for file in FILES for word in ("-f", str(ROOT / file))]
        command = ["docker", "compose", "--progress", "quiet", "-p", self.name, *files, *arguments]
        surroundings = os.environ | self.env | {"COMPOSE_PARALLEL_LIMIT": "1"} | env
        done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}{self.logs()}")
        return done

    def up(self, *arguments: str) -> None:
        """Start what does not run, and wait until everything is healthy."""
        limit = {"COMPOSE_PARALLEL_LIMIT": "-1"}
        self.compose("up", "-d", "--no-build", *arguments, **limit)
        self.until_healthy()

    def down(self, *arguments: str) -> None:
        """Stop and remove all of it; the volumes too with `-v`."""
        self.compose("down", "-t", "5", *arguments)

    def until_healthy(self) -> None:
        """Wait until every container of a service is healthy."""
        deadline = time.monotonic() + PATIENCE
        while sick := [name for name in SERVICES if not self.is_healthy(name)]:
            assert time.monotonic() < deadline, f"not healthy: {sick}\n{self.logs()}"
            time.sleep(0.3)

    def until_answering(self) -> None:
        """Wait until the NATS server takes seeds again."""
        deadline = time.monotonic() + PATIENCE
        while inspect(self.container("nats"))["State"].get("Health", {}).get("Status") != "healthy":
            assert time.monotonic() < deadline, f"nats is not healthy\n{self.logs('nats')}"
            time.sleep(0.2)

    def is_healthy(self, service: str) -> bool:
        """Whether it has containers, and all of them are healthy."""
        states = [inspect(one)["State"] for one in self.containers(service)]
        return bool(states) and all(state.get("Health", {}).get("Status") == "healthy" for state in states)

    def containers(self, service: str = "") -> list[str]:
        """The ids of its containers, or of those of one service, stopped ones too."""
        label = "label=com.docker.compose."
        wanted = [f"{label}project={self.name}", *([f"{label}service={service}"] if service else [])]
        filters = [word for one in wanted for word in ("--filter", one)]
        return docker("ps", "-aq", "--no-trunc", *filters).stdout.split()

    def container(self, service: str) -> str:
        """The id of its only container."""
        (only,) = self.containers(service)
        return only

    def volumes(self) -> set[str]:
        """Every volume of its containers, anonymous ones too."""
        mounts = [mount for one in self.containers() for mount in inspect(one)["Mounts"]]
        return {mount["Name"] for mount in mounts if mount["Type"] == "volume"}

    def python(self, service: str, code: str, *arguments: str, user: str = "") -> Any:
        """What a program prints, as JSON, in a service's container, with nothing but what that has."""
        who = ["-u", user] if user else []
        done = docker("exec", "-i", *who, self.container(service), "python", "-", *arguments, stdin=code)
        return json.loads(done.stdout.strip().splitlines()[-1])

    def kill(self, service: str) -> None:
        """Kill every process of a container at once with -9, as the kernel would; the engine starts it again.

        Not with `docker kill`: that is a person's wish, and the engine leaves it at that.
        """
        one = self.container(service)
        before = inspect(one)["State"]["StartedAt"]
        docker("exec", one, "sh", "-c", "kill -9 -1", check=False)
        deadline = time.monotonic() + PATIENCE
        while (state := inspect(one)["State"])["StartedAt"] == before or not state["Running"]:
            assert time.monotonic() < deadline, f"{service} was killed and does not come back"
            time.sleep(0.1)

    def logs(self, *services: str) -> str:
        """What the containers have said lately, and how they stand."""
        names = [name for name in services or ("init", *SERVICES) if self.containers(name)]
        parts = [f"--- {name}\n{self._log(name)}" for name in names]
        return "\n".join(parts)

    def _log(self, service: str) -> str:
        done = [docker("logs", "--tail", "15", one, check=False) for one in self.containers(service)]
        return "".join(one.stdout + one.stderr for one in done)

    def lode(self, *arguments: str, status: int = 0) -> Ended:
        """Run `lode` on this stack; it must end with `status`."""
        return run_lode(self.folder / "home", *arguments, status=status, **{VARIABLE: f"compose:{self.name}"})

    def sql(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query to the catalog."""
        return [dict(row) for row in json.loads(self.lode("sql", "--json", query).stdout)]

    def stack(self) -> ComposeStack:
        """The same stack, for calls."""
        return ComposeStack(self.name)

    def address(self) -> str:
        """Where containers reach the site: host:port; nobody else does."""
        networks = inspect(self.container("site"))["NetworkSettings"]["Networks"]
        return f"{next(iter(networks.values()))['IPAddress']}:{SITE_PORT}"

    def hasten(self, flow: str, ack_wait: float = 8.0) -> None:
        """Have its consumers wait no longer for what a killed worker had in hand."""
        asyncio.run(self._hasten(flow, ack_wait))

    def deliveries(self, flow: str) -> int:
        """How often a message of a flow was handed to a node."""
        return sum(info["delivered"]["consumer_seq"] for info in self.consumers(flow).values())

    def consumers(self, flow: str) -> dict[str, Info]:
        """Those of a flow's nodes, by durable."""
        return asyncio.run(self._consumers(flow))

    async def _consumers(self, flow: str) -> dict[str, Info]:
        bus = await connect(*self.stack().connection(), patience=PATIENCE)
        found = await infos(bus.nc, flow)
        await bus.close()
        return {name: info for (_, name), info in found.items() if name != subjects.CATALOG}

    async def _hasten(self, flow: str, ack_wait: float) -> None:
        bus = await connect(*self.stack().connection(), patience=PATIENCE)
        for (stream, name), info in (await infos(bus.nc, flow)).items():
            if name != subjects.CATALOG:
                config = info["config"] | {"ack_wait": int(ack_wait * SECOND)}
                body = {"stream_name": stream, "config": config, "action": "update"}
                await ask(bus.nc, f"CONSUMER.CREATE.{stream}.{name}", body)
        await bus.close()


def inspect(container: str) -> dict[str, Any]:
    """All that the engine knows of a container."""
    (known,) = json.loads(docker("inspect", container).stdout)
    return dict(known)


@contextmanager
def project(name: str, folder: Path) -> Iterator[Project]:
    """A project that is not up yet; nothing of it stays."""
    made = Project(name, folder)
    try:
        yield made
    finally:
        with contextlib.suppress(AssertionError):
            made.compose("unpause", check=False)
        made.compose("--profile", "*", "down", "-v", "-t", "2", "--remove-orphans")
