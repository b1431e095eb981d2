"""From inside each service's container, with its own credentials: its own work is allowed, everything else refused."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from lodestream.compose import places
from lodestream.registry import node_types
from proto import keys, subjects
from tests.compose.project import SERVICES, WORKERS, Project, docker, inspect

INSIDE = (*WORKERS, "catalog")
INTRUDER = Path(__file__).with_name("intruder.py").read_text()
API = subjects.API
UNWANTED = {
    "pub": [f"{API}.STREAM.{verb}.FLOW_x" for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "SNAPSHOT", "MSG.DELETE")]
    + [
        f"{API}.CONSUMER.CREATE.FLOW_x.mine",
        f"{API}.CONSUMER.DELETE.FLOW_x.extract-1",
        f"{API}.DIRECT.GET.FLOW_x",
        f"{API}.DIRECT.GET.SEEDS",
        subjects.flow_key("x"),
        subjects.TOMBSTONES,
        subjects.CATALOG_SQL,
        subjects.CATALOG_REBUILD,
        subjects.CATALOG_SNAPSHOT,
        subjects.scaling("extract"),
        "$SYS.REQ.SERVER.PING",
    ],
    "sub": [">", "flow.>", "seeds.>", "dead.>", "_INBOX.>", f"{API}.>", "$JS.ACK.>", "$SYS.>"],
    "bucket": ["another"],
    "makebucket": ["another"],
    "admin": [""],
    "list": ["", "memo/"],
    "put": ["forgotten/video/x.json", "elsewhere/x"],
    "write": ["/opt/lodestream/x", "/run/lode/x", "/etc/x"],
    "ls": [str(places.SECRETS)],
}
"""What nobody but the house and the operator may do."""
REFUSED = {"AccessDenied", "refused", "PermissionError", "OSError"}
"""An OSError is the read-only root."""


def of_worker(kind: str) -> dict[str, list[str]]:
    """The work of a type, on a flow that there is not."""
    node, own = node_types()[kind], subjects.durable(kind, 3)
    acks = [f"$JS.ACK.FLOW_x.{own}.1.1.1.1.1", f"$JS.ACK._.hash.FLOW_x.{own}.1.1.1.1.1"]
    writes = [*node.writes, keys.memos(kind), keys.ATTEMPTS]
    return {
        "pub": [
            subjects.output("x", kind, "node", "port", "entity"),
            subjects.dead("x", kind, "node", "entity"),
            subjects.progress("x", kind, "node"),
            subjects.next_message("FLOW_x", own),
            *acks,
        ],
        "put": [f"{prefix}rights-test/x" for prefix in writes],
        "list": [f"{prefix}rights-test/" for prefix in (*writes, *node.reads)],
    }


def of_catalog() -> dict[str, list[str]]:
    """The catalog's work."""
    return {
        "pub": [subjects.next_message("FLOW_x", "catalog"), f"{API}.STREAM.NAMES", subjects.dead("x", "a", "b", "c")],
        "put": [keys.snapshot("rights-test")],
        "list": [keys.snapshot("")],
    }


def work_of(service: str) -> dict[str, list[str]]:
    """What a service may do."""
    return of_catalog() if service == "catalog" else of_worker(service)


def others(service: str) -> dict[str, list[str]]:
    """What all the others may do, and this one may not; and what they alone may read."""
    mine = work_of(service)
    found: dict[str, list[str]] = {
        verb: [what for other in INSIDE if other != service for what in work_of(other)[verb] if what not in mine[verb]]
        for verb in ("pub", "put")
    }
    if service == "catalog":
        found["pub"] = [subject for subject in found["pub"] if not subject.startswith("dead.")]
    secrets = [str(places.SECRETS / other / "objects") for other in INSIDE if other != service]
    house = places.folder(places.HOUSE)
    secrets += [str(house / "nats-operator"), str(places.objects_key(places.ROOT)), str(places.nats_config())]
    unread = "media/x" if service == "catalog" else keys.snapshot("x")
    return found | {"read": secrets, "ls": [str(house)], "get": [unread]}


def attempt(stack: Project, service: str, deeds: dict[str, list[str]]) -> dict[str, str]:
    """What came of each."""
    return dict(stack.python(service, INTRUDER, json.dumps(deeds)))


@pytest.mark.parametrize("service", INSIDE)
def test_its_own_work_is_allowed(stack: Project, service: str) -> None:
    found = attempt(stack, service, work_of(service))
    assert found
    assert {what: came for what, came in found.items() if came != "done"} == {}


@pytest.mark.parametrize("service", INSIDE)
def test_what_is_another_s_is_refused(stack: Project, service: str) -> None:
    deeds = others(service)
    unwanted = UNWANTED | {verb: [*UNWANTED.get(verb, []), *deeds[verb]] for verb in deeds}
    found = attempt(stack, service, unwanted)
    assert len(found) > 60
    assert {what: came for what, came in found.items() if came not in REFUSED} == {}


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_can_do_little_to_its_machine(stack: Project, service: str) -> None:
    known = inspect(stack.container(service))
    config, host = known["Config"], known["HostConfig"]
    uid = int(config["User"].partition(":")[0])
    assert uid > 10_000
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"]["max-size"]
    assert all("docker.sock" not in mount["Source"] for mount in known["Mounts"])
    status = docker("exec", stack.container(service), "cat", "/proc/1/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == [str(uid)] * 4
    assert {int(facts["CapEff"], 16), int(facts["CapBnd"], 16)} == {0}
    assert facts["NoNewPrivs"] == "1"


READ = "import json, pathlib; print(json.dumps([f.read_text() for f in pathlib.Path('/x').rglob('*') if f.is_file()]))"


def secrets_of(stack: Project) -> list[str]:
    """Every secret that the stack has made, read as root."""
    volume = f"{stack.name}_secrets:/x:ro"
    done = docker("run", "--rm", "-v", volume, "-u", "0", "lodestream/house", "python", "-c", READ)
    return [text.strip() for text in json.loads(done.stdout) if len(text.strip()) == 43]


def test_no_secret_is_to_be_seen_from_outside(stack: Project) -> None:
    secrets = secrets_of(stack)
    assert len(secrets) > 15
    assert len(set(secrets)) == len(secrets)
    seen = "".join(json.dumps(inspect(one)) for one in stack.containers())
    seen += stack.compose("config").stdout + "".join(docker("logs", one).stdout for one in stack.containers("house"))
    assert [secret for secret in secrets if secret in seen] == []


def published(known: dict[str, Any]) -> list[tuple[str, int]]:
    """Where a container's ports are to be had on this machine."""
    bound = (known["NetworkSettings"]["Ports"] or {}).values()
    return [(one["HostIp"], int(one["HostPort"])) for each in bound for one in each or []]


def test_ports_are_open_on_loopback_only(stack: Project) -> None:
    found = [place for one in stack.containers() for place in published(inspect(one))]
    assert len(found) == 3
    assert {host for host, _ in found} == {"127.0.0.1"}
    for _, port in found:
        socket.create_connection(("127.0.0.1", port), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), 5)
