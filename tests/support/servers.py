"""Real servers for tests: on loopback, on a port of their own, with everything in a temporary folder.

A missing program skips the test on a laptop and fails it where the environment variable CI is set.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

BUCKET = "lodestream"


def program(name: str) -> str:
    """The path of a server program: beside Python, on PATH, or in the folder of built tools."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), str(Path.home() / ".cache/lab/bin")]
    return shutil.which(name, path=os.pathsep.join(folders)) or missing(f"no program {name}")


def missing(what: str) -> str:
    """Skips the test, or fails it under CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI is set")
    pytest.skip(what)


class Running:
    """A server process; usable as a context manager that stops it. `url` stays the same over `restart`."""

    def __init__(
        self, command: list[str], folder: Path, ready: Callable[["Running"], str], env: dict[str, str]
    ) -> None:
        self.command, self.folder, self.env, self._ready = command, folder, env, ready
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers. Fails the test, with the server's log, when it does not."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=os.environ | self.env, preexec_fn=die_with_parent
            )
        deadline = time.monotonic() + 20
        while not (url := self._ready(self)):
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"{self.command[0]} did not start:\n{(self.folder / 'server.log').read_text()[-2000:]}")
            time.sleep(0.02)
        self.url = url

    def kill(self) -> None:
        """Kill it with -9; what it had started is ended after it, for nobody else here does that."""
        left = []
        with contextlib.suppress(OSError):
            pid = self.process.pid
            left = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        self.process.kill()
        self.process.wait()
        for child in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def stop(self) -> None:
        """End it, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()


def start_nats(folder: Path, config: str = "") -> Running:
    """A nats-server with JetStream below `folder`; `config` is its configuration, listening aside."""
    home = folder / "nats-server"
    home.mkdir(exist_ok=True)
    (home / "nats.conf").write_text(config)
    port = free_port()
    command = [program("nats-server"), "-c", str(home / "nats.conf"), "-a", "127.0.0.1", "-p", str(port), "-js"]
    return Running([*command, "-sd", str(home / "data")], home, lambda server: _greeting(port), {})


def start_cluster(folder: Path, size: int = 3) -> list[Running]:
    """Several nats-servers that know each other; JetStream answers once they have agreed on a leader."""
    ports = [free_port() for _ in range(size)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    servers = []
    for number, port in enumerate(ports):
        home = folder / f"peer-{number}"
        home.mkdir()
        cluster = f'cluster {{name: test, listen: "127.0.0.1:{port}", routes: [{routes}]}}'
        servers.append(start_nats(home, f"server_name: peer-{number}\n{cluster}\n"))
    return servers


def start_minio(folder: Path) -> Running:
    """A MinIO server with an empty bucket; its `url` is what `open_objects` takes."""
    home, port, password = folder / "minio-server", free_port(), "only-for-tests"
    (home / "data").mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{port}"
    command = [program("minio"), "server", "--quiet", "--address", address, "--console-address", "127.0.0.1:0"]
    env = {"MINIO_ROOT_USER": "tester", "MINIO_ROOT_PASSWORD": password, "MINIO_UPDATE": "off", "HOME": str(home)}
    server = Running([*command, str(home / "data")], home, lambda server: _healthy(address), env)
    server.url = f"s3://tester:{password}@{address}/{BUCKET}"
    make_bucket(server.url)
    return server


def make_bucket(url: str) -> None:
    """Make the bucket of an `s3://user:password@host:port/bucket`."""
    from urllib.parse import urlsplit

    from minio import Minio

    parts = urlsplit(url)
    client = Minio(f"{parts.hostname}:{parts.port}", parts.username, parts.password, secure=False, region="us-east-1")
    if not client.bucket_exists(parts.path.strip("/")):
        client.make_bucket(parts.path.strip("/"))


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _greeting(port: int) -> str:
    """The server's URL once it greets a client, else nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as client:
            client.settimeout(1)
            info = client.recv(4096)
            return f"nats://127.0.0.1:{port}" if json.loads(info.split(b" ", 1)[1].split(b"\r\n")[0]) else ""
    except (OSError, IndexError, ValueError):
        return ""


def _healthy(address: str) -> str:
    try:
        with urlopen(f"http://{address}/minio/health/ready", timeout=1) as answer:
            return address if answer.status == 200 else ""
    except OSError:
        return ""


def die_with_parent() -> None:
    """Linux: the server goes when pytest is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
