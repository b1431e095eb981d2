"""Worker processes for fault tests, of the node types of tests/support/live_flows.py; some with a clock that is off."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lodestream.process import NATS_URL, OBJECTS, WORK
from tests.support.live_flows import TRACE, TYPES
from tests.support.servers import die_with_parent

ROOT = Path(__file__).parents[2]
NODE = "from tests.support.live_flows import TYPES\n\nNODE = TYPES[{!r}]\n"
CLOCK = "LODE_TEST_CLOCK"
"""How many seconds the clock of a process is ahead."""
OFF = """\
import datetime, os, time
ahead = float(os.environ["LODE_TEST_CLOCK"])
true, true_ns = time.time, time.time_ns
time.time, time.time_ns = lambda: true() + ahead, lambda: true_ns() + int(ahead * 1e9)
class Ahead(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
datetime.datetime = Ahead
"""
"""What makes the clock of a Python process go wrong from its first moment."""


class Hands:
    """Worker processes on one server; a context manager that kills them."""

    def __init__(self, url: str, folder: Path):
        self.url, self.folder = url, folder
        self.processes: list[subprocess.Popen[bytes]] = []
        for name in TYPES:
            package = folder / "nodes/services" / name
            package.mkdir(parents=True, exist_ok=True)
            (package / "__init__.py").touch()
            (package / "node.py").write_text(NODE.format(name))
        (folder / "clock").mkdir(exist_ok=True)
        (folder / "clock/sitecustomize.py").write_text(OFF)

    def environment(self, ahead: float = 0) -> dict[str, str]:
        """What a process is told that belongs to this server."""
        paths = [str(self.folder / "clock")] * bool(ahead) + [str(self.folder / "nodes"), str(ROOT)]
        parts = {NATS_URL: self.url, OBJECTS: f"file://{self.folder / 'objects'}", WORK: str(self.folder / "work")}
        parts[TRACE] = str(self.folder / "trace")
        return os.environ | parts | {"PYTHONPATH": os.pathsep.join(paths), CLOCK: str(ahead)}

    def start(self, *types: str, ahead: float = 0) -> None:
        """A worker of each type; `ahead` is by how many seconds its clock is wrong."""
        for name in types:
            command = [sys.executable, "-m", "lodestream.worker", name]
            with (self.folder / "workers.log").open("ab") as log:
                self.processes.append(
                    subprocess.Popen(
                        command, env=self.environment(ahead), cwd=ROOT, stderr=log, preexec_fn=die_with_parent
                    )
                )

    @contextlib.contextmanager
    def stopped(self, which: int) -> Iterator[None]:
        """One of them hangs meanwhile."""
        process = self.processes[which % len(self.processes)]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """What they have said."""
        return (self.folder / "workers.log").read_text()

    def __enter__(self) -> "Hands":
        return self

    def __exit__(self, *failure: object) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
