"""CPU time of a whole tree of processes, from /proc."""

import os
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
LONGEST = 60
"""Seconds."""


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, parent = int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system seconds of the tree, of those who have ended and were waited for too."""
    total = 0
    for pid in tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(ticks) for ticks in fields[11:15])
    return total / TICK


def settle(root: int) -> None:
    """Wait until a tree that was started has nothing left to get ready: less than a tenth of a core for a second."""
    last = cpu_seconds(root)
    for _ in range(LONGEST):
        time.sleep(1)
        if (now := cpu_seconds(root)) - last < 0.1:
            return
        last = now
    raise SystemExit(f"process {root} is busy {LONGEST} s after its start")


def resident_mb(root: int) -> float:
    """Proportional share of memory of the tree, in MB: shared pages are counted once."""
    total = 0
    for pid in tree(root):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024
