"""An instance of real processes in a folder of its own, to be killed piece by piece, and what is left of it."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lodestream.bus import Bus, connect
from lodestream.errors import LodeError
from lodestream.flow.consumers import infos
from lodestream.local import Home, connection, down, read_state, up
from lodestream.local.ports import USUAL, is_free
from lodestream.local.table import process_table
from lodestream.local.triton import TRITON
from lodestream.process import OBJECTS
from lodestream.registry import node_types
from lodestream.streams import SECOND, ask
from proto import subjects
from tests.support.servers import Running

COUNTS = {"fetch": 2, "extract": 2}
PORTS = range(20_000, 30_000)
MINERS, SEERS = ("intake", "discover", "fetch", "extract", "records"), ("filter", "dedup", "detect")
LEASE = 9 * SECOND
"""As short as it may be for workers that renew theirs every five seconds, and believe in it for seven and a half."""
PATIENCE = 60.0
"""Seconds in which what was killed must be gone, and a process to be killed must be there."""


@dataclass
class Instance:
    """One home; `minio`, where it is given, is its object store in place of a directory."""

    home: Home
    minio: Running | None = None
    ack_wait: float | None = None
    """Seconds until what a killed worker had in hand is given to another, where not as long as flows have it."""
    sees: bool = False
    """Whether it runs what looks at frames as well: many more processes to start."""
    objects: str = field(init=False)
    """URL of its object store; that of a server is told once, not after a restart."""

    def __post_init__(self) -> None:
        self.objects = self.minio.url if self.minio else self.home.objects.as_uri()

    def claim_ports(self) -> None:
        """Ports that no other instance looks for, so that they are free again at each start."""
        self.home.prepare()
        instance = self.home.instance()
        instance.ports = {name: next(p for p in random.sample(PORTS, len(PORTS)) if is_free(p)) for name in USUAL}
        self.home.save(instance)

    def start(self) -> None:
        """Start it, and wait until all of it answers. Raises LodeError."""
        kinds = {*MINERS, *(SEERS if self.sees else ())}
        table = process_table(COUNTS | dict.fromkeys(node_types().keys() - kinds, 0))
        table = [program for program in table if self.sees or program.name != TRITON]
        for program in table:
            program.env = {OBJECTS: self.objects}
        up(self.home, detach=True, bound=True, table=table)

    def restart(self) -> None:
        """Start it again after its supervisor was killed, and all else with it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.start()
                return
            except LodeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    async def hasten(self, bus: Bus, flow: str) -> None:
        """Have the consumers of a flow wait no longer than `ack_wait`, as `nats consumer edit --wait` would.

        What a killed worker leased is free sooner as well.
        """
        if not self.ack_wait:
            return
        leases = f"KV_{subjects.LEASES_BUCKET}"
        config = (await ask(bus.nc, f"STREAM.INFO.{leases}", {}) or {})["config"]
        await ask(bus.nc, f"STREAM.UPDATE.{leases}", config | dict.fromkeys(("max_age", "duplicate_window"), LEASE))
        for (stream, name), info in (await infos(bus.nc, flow)).items():
            if name != subjects.CATALOG:
                config = info["config"] | {"ack_wait": int(self.ack_wait * SECOND)}
                body = {"stream_name": stream, "config": config, "action": "update"}
                await ask(bus.nc, f"CONSUMER.CREATE.{stream}.{name}", body)

    def stop(self) -> None:
        """Stop it as `lode down` does."""
        down(self.home)

    async def connect(self) -> Bus:
        """A connection as operator."""
        return await connect(*connection(self.home), patience=PATIENCE)

    def is_stored(self, media_id: str) -> bool:
        """Whether the object store has a file of this video."""
        if not self.minio:
            return any(self.home.objects.glob(f"media/{media_id}/*"))
        return any(self.minio.folder.glob(f"data/lodestream/media/{media_id}/*/xl.meta"))

    def victims(self, kind: str) -> list[int]:
        """The processes of a kind (see `strikes.DECK`) that run now."""
        if kind == "minio":
            return [self.minio.process.pid] if self.minio else []
        state, tree = read_state(self.home), _tree()
        if state is None or state.pid not in tree:
            return []
        if kind in ("supervisor", "guard"):
            return [state.pid if kind == "supervisor" else tree[state.pid]]
        named = {p.name: p.pid for p in state.processes if p.pid in tree and p.pid}
        if kind != "worker" and kind != "child":
            return [named[kind]] if kind in named else []
        workers = [pid for name, pid in sorted(named.items()) if name.partition("-")[0] in MINERS + SEERS]
        return workers if kind == "worker" else sorted(_below(tree, set(workers)))

    def all(self) -> list[int]:
        """Every process of the instance, whoever its parent is: all have the home's path in their surroundings."""
        mine = os.getpid()
        return [pid for pid in _pids() if pid != mine and self._is_of_this_home(pid)]

    def wait_for_end(self) -> list[int]:
        """Wait until nothing of it runs; what still does in the end."""
        deadline = time.monotonic() + PATIENCE
        while (left := self.all()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def kill_all(self) -> None:
        """Kill everything at once, the server first: nobody has the time to put anything away."""
        for pid in self.victims("nats") + self.victims("guard") + self.victims("supervisor"):
            kill(pid)
        while left := self.all():
            for pid in left:
                kill(pid)

    def _is_of_this_home(self, pid: int) -> bool:
        root = str(self.home.root).encode()
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
            seen = [Path(f"/proc/{pid}/{what}").read_bytes() for what in ("environ", "cmdline")]
            return any(root in what for what in seen)
        return False


def kill(pid: int) -> bool:
    """Kill one process with -9; False where it was gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


async def gone(pid: int) -> None:
    """Wait until a killed process is no more."""
    async with asyncio.timeout(PATIENCE):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").glob("[0-9]*"))


def _tree() -> dict[int, int]:
    """The parent of every process that lives."""
    found = {}
    for pid in _pids():
        with contextlib.suppress(OSError):
            state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[pid] = int(parent)
    return found


def _below(tree: dict[int, int], above: set[int]) -> set[int]:
    """Everything that descends from some processes."""
    found: set[int] = set()
    while more := {pid for pid, parent in tree.items() if parent in above | found} - found:
        found |= more
    return found
