"""What a person gets wrong is told in one line that says what to do, and ends with a status that is not 0."""

import json
import re
import socket
import subprocess

import pytest

from tests.compose.project import Project, docker


def run(
    project: Project, service: str, *options: str, command: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """One container of a service with other settings, as it ends."""
    return project.compose("run", "--rm", "--no-deps", "-T", *options, service, *command, check=False)


def only_line(done: subprocess.CompletedProcess[str]) -> str:
    """What it said, which is one line and no traceback; it has failed."""
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and "Container" not in line]
    assert done.returncode == 1, said
    assert len(said) == 1, said
    return said[0]


def command_of_init(project: Project) -> list[str]:
    """As compose.yaml has it."""
    return [*json.loads(project.compose("config", "--format", "json").stdout)["services"]["init"]["command"]]


def test_an_unknown_level_of_logging(stack: Project) -> None:
    for service in ("extract", "catalog", "house"):
        said = only_line(run(stack, service, "-e", "LODE_LOG_LEVEL=loud"))
        assert "LODE_LOG_LEVEL is 'loud'" in said
        assert "debug, info, warning, error" in said


def test_a_secret_that_is_missing(stack: Project) -> None:
    said = only_line(run(stack, "fetch", "-e", "LODE_NATS_PASSWORD_FILE=/run/lode/fetch/none"))
    assert "cannot read LODE_NATS_PASSWORD_FILE /run/lode/fetch/none" in said
    said = only_line(run(stack, "fetch", "-e", "LODE_OBJECTS_FILE=/run/lode/house/objects"))
    assert "Permission denied" in said


def test_no_secrets_at_all(stack: Project) -> None:
    done = docker("run", "--rm", "lodestream/house", "python", "-m", "lodestream.compose.house", check=False)
    assert "has init run?" in only_line(done)


def test_a_volume_that_cannot_be_written(stack: Project) -> None:
    options = ("--rm", "-u", "11004", "-e", "LODE_NATS_URL=nats://nats:4222", "-e", "LODE_WORK=/work")
    options += ("-e", "LODE_OBJECTS=file:///tmp", "-e", "LODE_CATALOG=/data", "--tmpfs", "/data:mode=0555")
    done = docker("run", *options, "lodestream/catalog", "python", "-P", "-m", "services.catalog", check=False)
    said = only_line(done)
    assert "/data" in said
    assert "ermission denied" in said


def test_secrets_that_cannot_be_written(stack: Project) -> None:
    done = docker(
        "run", "--rm", "-u", "0", "--tmpfs", "/run/lode:ro", "lodestream/house", *command_of_init(stack), check=False
    )
    assert "is the volume writable?" in only_line(done)


def test_data_of_another_version(stack: Project) -> None:
    shell = f"mkdir -p /run/lode && echo 99 >/run/lode/format && exec {' '.join(command_of_init(stack))}"
    done = docker("run", "--rm", "-u", "0", "--tmpfs", "/run/lode", "lodestream/house", "sh", "-c", shell, check=False)
    said = only_line(done)
    assert "another version of Lodestream (format 99" in said
    assert "use that version" in said


@pytest.mark.timeout(200)
def test_a_port_that_is_taken(own: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(own.env["LODE_NATS_PORT"])))
        taken.listen()
        done = own.compose("up", "-d", "--no-build", "nats", check=False)
        found = json.loads(own.lode("doctor", "--json", status=1).stdout)
    assert done.returncode
    assert own.env["LODE_NATS_PORT"] in done.stderr
    (port,) = [finding for finding in found if finding["what"] == "LODE_NATS_PORT"]
    assert port["said"] == f"{own.env['LODE_NATS_PORT']} is taken by another program"
    assert re.search(r"LODE_NATS_PORT=\d+ docker compose up -d$", port["advice"])
    own.compose("up", "-d", "--no-build", "--wait", "nats")
