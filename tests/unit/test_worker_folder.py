"""A worker's folder for temporary files: its own, empty, and none of a dead one's is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lodestream.errors import LodeError
from lodestream.workfolder import own_folder, sweep

HERE = os.uname().nodename
WORKER = """
import sys
from pathlib import Path
from lodestream.workfolder import own_folder
with own_folder(Path(sys.argv[1]), sys.argv[2]) as folder:
    (folder / "part").write_bytes(b"x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def worker(work: Path, node_type: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that has a folder, and that folder; ends in order with the block."""
    argv = [sys.executable, "-c", WORKER, str(work), node_type]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.stdin.close()


def test_a_folder_is_empty_and_its_own_and_goes_with_its_process(tmp_path: Path) -> None:
    work = tmp_path / "work"
    with own_folder(work, "fetch") as mine, worker(work, "fetch") as (_, other):
        assert mine != other
        assert list(mine.iterdir()) == []
        assert mine.name.startswith(f"fetch-{HERE}-")
    assert list(work.iterdir()) == []


def test_what_a_killed_worker_left_goes_with_the_next_one_of_its_type(tmp_path: Path) -> None:
    """Also where nobody has taken note of its end: it stands in the table of processes then."""
    with worker(tmp_path, "fetch") as (process, left), worker(tmp_path, "fetch") as (_, living):
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}").exists()
        with own_folder(tmp_path, "extract"):
            assert left.exists()
        with own_folder(tmp_path, "fetch"):
            assert not left.exists()
            assert (living / "part").exists()


def test_a_sweep_takes_what_nobody_holds_of_workers_alone(tmp_path: Path) -> None:
    """Whatever a folder is called: a name says nothing about who lives."""
    for name in (f"fetch-{HERE}-{os.getpid()}", "extract-elsewhere-1/extract", "parquet-1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "fetch-file").touch()
    with worker(tmp_path, "records") as (_, living):
        sweep(tmp_path, ["fetch", "extract", "records"])
        assert {path.name for path in tmp_path.iterdir()} == {"parquet-1", "fetch-file", living.name}


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LodeError, match=r"cannot write to .*file"), own_folder(tmp_path / "file", "fetch"):
        pass
