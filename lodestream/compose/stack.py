"""A stack in containers as the command line finds it: through the Docker engine, with what the house keeps."""

import io
import tarfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lodestream.compose import places
from lodestream.errors import LodeError
from lodestream.local.start import Connection
from lodestream.local.state import Process, ProcessState, State
from lodestream.rights import CATALOG, OPERATOR
from proto.keys import BUCKET

if TYPE_CHECKING:
    from docker.models.containers import Container

PROJECT = "lodestream"
"""`name` in compose.yaml."""
_LABEL = "com.docker.compose"
_STATES: dict[str, ProcessState] = {"running": "running", "restarting": "waiting", "created": "waiting"}
NATS_PORT, STORE_PORT, QUACK_PORT = "4222/tcp", "9000/tcp", "9494/tcp"
VARIABLES = {
    NATS_PORT: "LODE_NATS_PORT",
    STORE_PORT: "LODE_MINIO_PORT",
    QUACK_PORT: "LODE_QUACK_PORT",
    "3000/tcp": "LODE_GRAFANA_PORT",
}
"""Which setting of compose.yaml says where a port of a container is published."""


class ComposeStack:
    """The containers of one project on the engine that `DOCKER_HOST` names, or the local one."""

    def __init__(self, project: str = PROJECT):
        self.project = project

    @property
    def name(self) -> str:
        """For people."""
        return f"compose project {self.project}"

    @property
    def folder(self) -> Path | None:
        """See Stack: the catalog's folder is in a volume."""
        return None

    @property
    def disk(self) -> Path | None:
        """See Stack: it fills the engine's disk."""
        return None

    @cached_property
    def _containers(self) -> "list[Container]":
        """Every container of the project. Raises LodeError where no engine answers, or there are none."""
        import docker
        from docker.errors import DockerException

        try:
            found = docker.from_env().containers.list(all=True, filters={"label": f"{_LABEL}.project={self.project}"})
        except DockerException as error:
            raise LodeError(f"no Docker engine answers ({error}); is it running, and may you use it?") from None
        if not found:
            raise LodeError(f"nothing is up as {self.name}; start it with: docker compose up -d")
        return list(found)

    def connection(self, user: str = OPERATOR) -> Connection:
        """How `user` reaches its NATS server. Raises LodeError."""
        password = self._secret(places.folder(places.HOUSE) / f"nats-{user}")
        return Connection(f"nats://{self._address(places.NATS, NATS_PORT)}", user, password)

    def objects(self) -> str:
        """URL of its object store, with the rights of the house. Raises LodeError."""
        key = self._secret(places.objects_key(places.HOUSE))
        return f"s3://{places.HOUSE}:{key}@{self._address(places.MINIO, STORE_PORT)}/{BUCKET}"

    def quack(self) -> tuple[str, str]:
        """Where DuckDB clients find the catalog, and what they show it. Raises LodeError."""
        return f"quack:{self._address(CATALOG, QUACK_PORT)}", self._secret(places.quack())

    def triton(self) -> tuple[str, Path | None]:
        """See Stack: it listens where only containers see it."""
        return "", None

    def models(self) -> Path:
        """See Stack. Raises LodeError where the engine is another machine's."""
        mounts = [mount for container in self._containers for mount in container.attrs["Mounts"]]
        folders = [Path(mount["Source"]) for mount in mounts if mount["Destination"] == places.MODELS]
        if not folders:
            raise LodeError(f"no container of {self.name} sees models; start it anew with: docker compose up -d")
        if not folders[0].is_dir():
            raise LodeError(f"the models of {self.name} are in {folders[0]} of another machine; say this there")
        return folders[0]

    def variables(self) -> dict[str, str]:
        """See Stack."""
        return {"LODE_STACK": f"compose:{self.project}"}

    def state(self) -> State:
        """Its containers. Raises LodeError where there are none."""
        processes = [_process(container) for container in self._containers if _service(container) != "init"]
        since = min(container.attrs["Created"] for container in self._containers)
        ready = all(process.state == "running" for process in processes)
        url = f"nats://{self._address(places.NATS, NATS_PORT)}"
        return State(pid=0, since=since, nats_url=url, ready=ready, processes=sorted(processes, key=lambda p: p.name))

    def unpublished(self) -> dict[str, int]:
        """The ports of this machine, by their settings, that containers want that do not run. Raises LodeError."""
        waiting = [container.attrs for container in self._containers if container.status != "running"]
        wanted = [of["HostConfig"]["PortBindings"] or {} for of in waiting]
        return {VARIABLES[port]: int(bound[0]["HostPort"]) for of in wanted for port, bound in of.items()}

    def _address(self, service: str, port: str) -> str:
        """Where a container's port is published on this machine. Raises LodeError."""
        bound = (self._one(service).attrs["NetworkSettings"]["Ports"] or {}).get(port)
        if not bound:
            raise LodeError(f"{service} is not up; see: docker compose ps, docker compose logs {service}")
        return f"{bound[0]['HostIp']}:{bound[0]['HostPort']}"

    def _secret(self, file: Path) -> str:
        """What a file says that lies in the volume of secrets. Raises LodeError."""
        from docker.errors import APIError

        holder = CATALOG if file == places.quack() else places.HOUSE
        try:
            stream, _ = self._one(holder).get_archive(str(file))
        except APIError as error:
            raise LodeError(f"cannot read {file} in {holder}: {error.explanation}") from None
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            member = archive.extractfile(archive.next() or "")
            assert member
            return member.read().decode().strip()

    def _one(self, service: str) -> "Container":
        """The first container of a service. Raises LodeError where it has none."""
        for container in self._containers:
            if _service(container) == service:
                return container
        raise LodeError(f"no container of {service} in {self.name}; start it with: docker compose up -d")


def _service(container: "Container") -> str:
    return str(container.labels[f"{_LABEL}.service"])


def _process(container: "Container") -> Process:
    attributes: dict[str, Any] = container.attrs
    state, number = attributes["State"], container.labels.get(f"{_LABEL}.container-number", "1")
    name = _service(container) if number == "1" else f"{_service(container)}-{number}"
    return Process(
        name=name,
        state=_STATES.get(state["Status"], "stopped"),
        since=state["StartedAt"],
        restarts=attributes.get("RestartCount", 0),
        last_exit=f"status {state['ExitCode']}" if attributes.get("RestartCount") else "",
    )
