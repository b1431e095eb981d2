"""Workers beside the first of their service: which are started, which go, and that none is cut off."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lodestream.local.child import Child, Program
from lodestream.local.crew import Crew, bounds
from lodestream.local.logs import RotatedLog
from lodestream.local.table import process_table
from lodestream.scaling.policy import Limits

CORES = len(os.sched_getaffinity(0))
TABLE = [
    Program(name="fetch", argv=["fetch"], service="fetch", most=5),
    Program(name="fetch-2", argv=["fetch"], service="fetch"),
    Program(name="extract", argv=["extract"], service="extract", most=4),
    Program(name="catalog", argv=["catalog"], service="catalog"),
]
CUT_SHORT = """
import asyncio, sys
from pathlib import Path
from lodestream.local import Home
from lodestream.local.child import Program
from lodestream.local.supervisor import Supervisor

WORKER = '''
import signal, sys, time
def end(*_):
    time.sleep(1)
    sys.exit(print("handed back", flush=True))
signal.signal(signal.SIGTERM, end)
print("works", flush=True)
while True:
    time.sleep(1)
'''

async def main():
    home = Home(Path(sys.argv[1]))
    home.prepare()
    supervisor = Supervisor(home, [])
    worker = supervisor._add(Program(name="extract-2", argv=[sys.executable, "-c", WORKER]), {})
    while "works" not in (home.logs / "extract-2.log").read_text():
        await asyncio.sleep(0.05)
    removing = asyncio.create_task(supervisor._remove(worker))
    await asyncio.sleep(0.1)
    removing.cancel()
    await supervisor._end("stops")

asyncio.run(main())
"""


@pytest.fixture
def children(tmp_path: Path) -> list[Child]:
    return [Child(program, {}, RotatedLog(tmp_path / program.name), print) for program in TABLE]


@pytest.fixture
def crew(children: list[Child], tmp_path: Path) -> Crew:
    """A crew whose children are never really started."""

    def add(program: Program) -> Child:
        children.append(Child(program, {}, RotatedLog(tmp_path / program.name), print))
        return children[-1]

    async def remove(child: Child) -> None:
        children.remove(child)

    return Crew(TABLE, children, add, remove)


def names(children: list[Child], service: str) -> list[str]:
    return [child.program.name for child in children if child.program.service == service]


async def test_those_that_are_missing_are_started_and_the_last_go_first(crew: Crew, children: list[Child]) -> None:
    await crew.scale("extract", 3)
    assert names(children, "extract") == ["extract", "extract-2", "extract-3"]
    assert {child.program.argv[0] for child in children if child.program.service == "extract"} == {"extract"}
    assert await crew.counts() == {"fetch": 2, "extract": 3, "catalog": 1}
    await crew.scale("extract", 1)
    await crew.scale("fetch", 4)
    assert names(children, "extract") == ["extract"]
    assert names(children, "fetch") == ["fetch", "fetch-2", "fetch-3", "fetch-4"]


def test_the_table_says_who_is_scaled() -> None:
    assert bounds(TABLE) == {"fetch": Limits(2, 5), "extract": Limits(1, 4)}
    assert bounds(process_table({"extract": 2})) == {}


def test_autoscale_goes_from_what_was_asked_for_to_the_cores() -> None:
    asked = {"extract": CORES + 3, "fetch": 0}
    limits = bounds(process_table(asked, autoscale=True))
    assert limits["extract"] == Limits(CORES + 3, CORES + 3)
    assert limits["intake"] == Limits(1, CORES)
    assert {"fetch", "catalog"}.isdisjoint(limits), "none was wanted; there is only one"


def test_a_worker_that_is_ending_is_waited_for_when_everything_ends(tmp_path: Path) -> None:
    """In a process of its own: it ends every orphan that it finds."""
    done = subprocess.run([sys.executable, "-c", CUT_SHORT, tmp_path], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "logs" / "extract-2.log").read_text().split("\n") == ["works", "handed back", ""]
