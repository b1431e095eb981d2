"""The containers of one compose project: copies of the first of a service, made so that compose takes them for its own.

They are ended, recreated and listed by compose like those that it made itself.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound

from lodestream.errors import LodeError
from lodestream.scaling.policy import Limits

LABEL = "com.docker.compose"
TIMEOUT = 60
"""Seconds for one answer of the engine."""
KEPT = (
    *("Cmd", "Entrypoint", "Env", "User", "WorkingDir", "StopSignal", "StopTimeout", "Healthcheck"),
    *("ExposedPorts", "Volumes"),
)
"""What a copy has of the configuration; its own are host name, number, name and addresses."""
_OVER = ("exited", "dead", "removing")

Found = dict[int, dict[str, Any]]
"""The containers of a service by their number, as the engine lists them."""


def engine() -> docker.DockerClient:
    """The engine behind the local socket. Raises LodeError where none answers."""
    try:
        return docker.DockerClient(base_url="unix:///var/run/docker.sock", version="auto", timeout=TIMEOUT)
    except DockerException as error:
        raise LodeError(f"no Docker engine answers at /var/run/docker.sock: {error}") from None


def project_of(client: docker.DockerClient, container: str) -> str:
    """The compose project that a container belongs to. Raises LodeError where it is in none."""
    try:
        return str(client.containers.get(container).labels[f"{LABEL}.project"])
    except (DockerException, KeyError) as error:
        raise LodeError(f"{container} is no container of a compose project: {error}") from None


class Containers:
    """The services of one project that may be scaled. Everything raises LodeError for what is not allowed, or fails."""

    def __init__(self, client: docker.DockerClient, project: str, limits: Mapping[str, Limits]):
        self._api, self._project, self._limits = client.api, project, limits

    def counts(self) -> dict[str, int]:
        """Containers of each service that run, or are about to."""
        found = {service: self._list(service) for service in self._limits}
        return {service: sum(each["State"] not in _OVER for each in of.values()) for service, of in found.items()}

    def scale(self, service: str, replicas: int) -> None:
        """Give a service so many containers; those with the highest numbers go first."""
        limits = self._limits.get(service)
        if limits is None:
            raise LodeError(f"{service!r} may not be scaled; these may: {', '.join(self._limits) or 'none'}")
        if not limits.least <= replicas <= limits.most:
            raise LodeError(f"{service} may have {limits.least} to {limits.most} containers, not {replicas}")
        try:
            self._scale(service, replicas)
        except DockerException as error:
            raise LodeError(f"the engine refuses {replicas} of {service}: {error}") from None

    def _scale(self, service: str, replicas: int) -> None:
        found = self._list(service)
        numbers = sorted(found)
        if not numbers or found[numbers[0]]["State"] in _OVER:
            raise LodeError(f"{service} has no container that runs; start it with: docker compose up -d {service}")
        self._end(found[number]["Id"] for number in numbers[replicas:])
        for number in numbers[:replicas]:
            if found[number]["State"] in _OVER:
                self._api.start(found[number]["Id"])
        free = (number for number in count(1) if number not in found)
        for number in islice(free, max(replicas - len(numbers), 0)):
            self._copy(found[numbers[0]]["Id"], f"{self._project}-{service}-{number}", number)

    def _list(self, service: str) -> Found:
        labels = [f"{LABEL}.project={self._project}", f"{LABEL}.service={service}", f"{LABEL}.oneoff=False"]
        try:
            listed = self._api.containers(all=True, filters={"label": labels})
        except DockerException as error:
            raise LodeError(f"the engine does not say what runs: {error}") from None
        return {int(each["Labels"][f"{LABEL}.container-number"]): each for each in listed}

    def _end(self, containers: Iterable[str]) -> None:
        """Stop them all at once, each with the time that it has to hand back its work, and remove them."""

        def end(container: str) -> None:
            self._api.stop(container)
            self._api.remove_container(container, v=True)

        with ThreadPoolExecutor() as pool:
            list(pool.map(end, containers))

    def _copy(self, original: str, name: str, number: int) -> None:
        """Create and start one more: its configuration, mounts, networks and labels, but no published port."""
        there = self._api.inspect_container(original)
        config, own = there["Config"], {there["Name"].lstrip("/"), there["Id"][:12]}
        networks = {
            network: {"Aliases": [*sorted(set(end.get("Aliases") or []) - own), name]}
            for network, end in there["NetworkSettings"]["Networks"].items()
        }
        first, *others = networks
        wanted = {key: config[key] for key in KEPT if config.get(key) is not None} | {
            "Image": self._image(there),
            "Labels": config["Labels"] | {f"{LABEL}.container-number": str(number)},
            "HostConfig": there["HostConfig"] | {"PortBindings": {}},
            "NetworkingConfig": {"EndpointsConfig": {first: networks[first]}},
        }
        made = self._api.create_container_from_config(wanted, name=name)["Id"]
        try:
            for network in others:
                self._api.connect_container_to_network(made, network, aliases=networks[network]["Aliases"])
            self._api.start(made)
        except DockerException:
            self._api.remove_container(made, force=True, v=True)
            raise

    def _image(self, there: Mapping[str, Any]) -> str:
        """The image of a container, by name while that is still the same one: a copy is no newer than its original."""
        name = there["Config"]["Image"]
        try:
            return str(name if self._api.inspect_image(name)["Id"] == there["Image"] else there["Image"])
        except ImageNotFound:
            return str(there["Image"])
