"""The embedded stack: how soon it is ready when it has run before, and what it costs while nothing happens.

`python -m tests.bench.bench_stack`
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from lodestream.local import Home, down, is_up, up
from tests.bench.cpu import cpu_seconds, resident_mb

SETTLE, WATCHED = 5.0, 30.0
"""Seconds before idleness is measured, and for how long."""


def run() -> list[dict[str, Any]]:
    """Rows {what, ratio, target, detail}; at most the target is good."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        up(home, detach=True)
        down(home)
        began = time.perf_counter()
        up(home, detach=True)
        ready = time.perf_counter() - began
        try:
            state = is_up(home)
            assert state
            time.sleep(SETTLE)
            before = cpu_seconds(state.pid)
            time.sleep(WATCHED)
            idle = (cpu_seconds(state.pid) - before) / WATCHED
            memory = resident_mb(state.pid)
        finally:
            down(home)
    return [
        {"what": "`lode up` warm to ready, s", "ratio": ready, "target": 5.0, "cost": True, "detail": ""},
        {
            "what": "idle, share of one core, everything together",
            "ratio": idle,
            "target": 0.03,
            "cost": True,
            "detail": f"{memory:.0f} MB",
        },
    ]


if __name__ == "__main__":
    for row in run():
        print(row)
