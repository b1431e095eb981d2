"""Where an instance's Triton is, and what is said where it is not."""

import asyncio
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from lodestream.errors import LodeError
from lodestream.job import Parts
from lodestream.local import Home, triton, tritonserver
from lodestream.local.child import Program
from lodestream.local.late import start_late
from lodestream.local.state import Process as ProcessState
from lodestream.local.state import State
from lodestream.local.table import process_table
from lodestream.process import Process
from lodestream.stack import LocalStack
from lodestream.status import FlowStatus, NodeStatus, triton_problems

OFF = "Triton does not run, or not yet"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    home.make_passwords(["detect"])
    return home


def test_services_are_told_of_it(home: Home) -> None:
    process = Process.from_env(home.environment("detect"))
    assert process.triton == f"unix:{home.root}/run/triton/grpc:1"
    assert process.models == home.root / "models"


def test_models_may_lie_elsewhere(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODE_MODELS", str(tmp_path / "shared"))
    assert home.environment("detect")["LODE_MODELS"] == str(tmp_path / "shared") == str(home.models)


def test_whoever_is_told_of_none_has_none() -> None:
    process = Process.from_env({"LODE_NATS_URL": "x", "LODE_WORK": "x", "LODE_OBJECTS": "x"})
    assert (process.triton, process.models) == ("", None)
    assert Parts(None, None, Path(), None).triton == ""  # type: ignore[arg-type]


def test_the_socket_of_a_home_with_a_long_path_lies_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    homes = [Home(tmp_path / name / ("long" * 30)) for name in "ab"]
    for home in homes:
        home.prepare()
    folders = [home.triton_folder() for home in homes]
    assert {folder.parent for folder in folders} == {tmp_path}
    assert len(set(folders)) == 2
    assert homes[0].triton_folder() == folders[0], "the same at every start"


def test_a_folder_of_somebody_else_is_refused(home: Home, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    home.triton_folder().symlink_to(tmp_path / "theirs")
    with pytest.raises(LodeError, match="belongs to somebody else"):
        tritonserver.prepare(home)
    assert not any((tmp_path / "theirs").iterdir())


def test_where_it_is_not_installed_that_is_said_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton, "COMPLETE", tmp_path / "nothing")
    assert "lode models pull" in triton.lacks()


def test_the_table_has_it_as_what_nothing_waits_for() -> None:
    row = next(program for program in process_table() if program.name == "triton")
    assert (row.service, row.user, row.needs) == ("", "", str(triton.COMPLETE))


async def test_a_late_program_is_started_once_when_what_it_needs_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lodestream.local.late.LOOK_EVERY", 0.01)
    table = [
        Program(name="now", argv=[]),
        Program(name="there", argv=[], needs=str(tmp_path)),
        Program(name="later", argv=[], needs=str(tmp_path / "file")),
    ]
    started: list[str] = []
    task = asyncio.create_task(start_late(table, lambda program: started.append(program.name)))
    await asyncio.sleep(0.1)
    assert started == ["there"]
    (tmp_path / "file").touch()
    await asyncio.wait_for(task, 30)
    assert started == ["there", "later"]


@pytest.mark.parametrize(("waits_for", "running", "said"), [(OFF, [], 1), (OFF, ["triton"], 0), ("the disk", [], 0)])
def test_status_says_what_installs_it_where_something_waits_for_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, waits_for: str, running: list[str], said: int
) -> None:
    monkeypatch.setattr(triton, "COMPLETE", home.root / "nothing")
    node = NodeStatus(name="boxes", type="detect", paused=False, waits_for=waits_for)
    more = {"messages": 0, "bytes": 0, "max_bytes": 0, "last_seq": 0, "catalog_behind": 0}
    flow = FlowStatus(flow="cats", at="", nodes=[node], **more)
    state = State(pid=1, since="", processes=[ProcessState(name=name) for name in running])
    problems = triton_problems(LocalStack(home), state, [flow])
    assert len(problems) == said
    assert all("lode models pull" in problem for problem in problems)


def test_nothing_of_it_is_imported_before_somebody_infers() -> None:
    code = """
        import sys
        import lodestream.worker, lodestream.inference.client
        from lodestream.registry import node_types
        node_types()
        print(sorted({name.partition(".")[0] for name in sys.modules} & {"grpc", "tritonclient", "numpy", "google"}))
    """
    ended = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
