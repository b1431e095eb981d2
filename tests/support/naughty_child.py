"""Work for `lodestream.children` that behaves, and work that does not."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARMED: list[int] = []
PREPARED: list[tuple[int, str]] = []


def warm() -> None:
    """Notes the process that was warmed."""
    WARMED.append(os.getpid())


def prepare(job: dict[str, Any]) -> None:
    """Notes the process that prepares a job, and which; fails where it is asked to."""
    PREPARED.append((os.getpid(), job["do"]))
    if job.get("unprepared"):
        raise ImportError("as asked")


def run(job: dict[str, Any], folder: str, emit: Callable[..., None]) -> None:
    """Does what `job["do"]` names."""
    emit({"pid": os.getpid(), "folder": folder})
    globals()[f"_{job['do']}"](job, Path(folder), emit)


def _count(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    for n in range(job["n"]):
        emit({"n": n})


def _flood(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    for _ in range(job["n"]):
        emit({"padding": 4000 * "x"}, lossy=True)
    emit({"last": True})


def _facts(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    emit(
        {
            "warmed": WARMED,
            "prepared": PREPARED,
            "parent": os.getppid(),
            "session": os.getsid(0),
            "environment": sorted(os.environ),
            "stdin": os.read(0, 1).decode(),
            "open": sorted(int(fd) for fd in os.listdir("/proc/self/fd")),  # noqa: PTH208
            "cpu": resource.getrlimit(resource.RLIMIT_CPU)[0],
        }
    )


def _file(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    (folder / "made").write_bytes(bytes(job["size"]))
    emit({"path": str(folder / "made")})


def _fail(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    raise RuntimeError("as asked")


def _memory(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    bytearray(1 << 30)


def _crash(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _spin(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    while True:
        pass


def _hang(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    (folder / "part").write_bytes(b"half")
    time.sleep(600)


def _chatter(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    while True:
        emit({"still": "here"})
        time.sleep(0.02)


def _family(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as program:
        emit({"program": program.pid})


def _orphan(job: dict[str, Any], folder: Path, emit: Callable[..., None]) -> None:
    emit({"program": subprocess.Popen(["/bin/sleep", "600"]).pid})
