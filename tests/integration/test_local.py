"""The embedded stack with a real nats-server and small programs in place of the services."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import nats
import pytest

from lodestream.errors import LodeError
from lodestream.local import Home, State, connection, down, is_up, read_state, up
from lodestream.local.child import Program
from lodestream.local.ports import is_free
from lodestream.registry import node_types
from tests.support.servers import program

ANSWERS = """
import asyncio, os, sys
from pathlib import Path
import nats, nats.micro

async def main():
    user = os.environ["LODE_NATS_USER"]
    password = Path(os.environ["LODE_NATS_PASSWORD_FILE"]).read_text().strip()
    nc = await nats.connect(os.environ["LODE_NATS_URL"], user=user, password=password, inbox_prefix="_INBOX_" + user)
    await nats.micro.add_service(nc, name=user, version="1.0.0")
    print("serving as", user)
    await asyncio.sleep(600)

asyncio.run(main())
"""
FAMILY = """
import subprocess, sys, time
near = subprocess.Popen(["sleep", "600"])
far = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], start_new_session=True, stdout=subprocess.PIPE)
print(near.pid, far.pid, far.stdout.readline().decode().strip(), flush=True)
time.sleep(600)
"""
FOLDER = """
import os, time
from pathlib import Path
from lodestream.workfolder import own_folder
with own_folder(Path(os.environ["LODE_WORK"]), "fetch"):
    time.sleep(600)
"""
STARTS = """
from pathlib import Path
from lodestream.errors import LodeError
from lodestream.local import Home, up
try:
    up(Home(Path(sys.argv[1])), table=[])
except LodeError as error:
    sys.exit(str(error))
"""


def sleeper(name: str = "sleeper", seconds: float = 600) -> Program:
    """A program that does nothing for a while."""
    return Program(name=name, argv=["sleep", str(seconds)], user="operator")


def python(name: str, code: str, user: str = "operator", service: str = "") -> Program:
    """A program of a few lines."""
    return Program(name=name, argv=[sys.executable, "-c", code], user=user, service=service)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home of its own; what runs there is ended."""
    program("nats-server")
    home = Home(tmp_path / "home")
    yield home
    down(home)


def until(fact: Callable[[], object], what: str) -> None:
    """Wait for a fact."""
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def pids(home: Home) -> dict[str, int]:
    """The process ids of what runs, by name."""
    state = read_state(home)
    return {p.name: p.pid for p in state.processes if p.pid} if state else {}


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def start(home: Home, *table: Program) -> State:
    """Start in the background; what runs then."""
    up(home, detach=True, table=list(table))
    state = is_up(home)
    assert state
    return state


async def request_info(home: Home, user: str = "operator") -> str:
    """The server's name, as a client with the home's password hears it."""
    url, user, password = connection(home, user)
    nc = await nats.connect(url, user=user, password=password)
    try:
        await nc.jetstream().stream_info("SEEDS")
        return str(nc._server_info["server_name"])
    finally:
        await nc.close()


def test_up_is_ready_and_down_leaves_nothing(home: Home) -> None:
    state = start(home, python("intake", ANSWERS, user="intake", service="intake"), sleeper())
    assert [(p.name, p.state, p.restarts) for p in state.processes] == [
        ("nats", "running", 0),
        ("intake", "running", 0),
        ("sleeper", "running", 0),
    ]
    running = pids(home)
    assert home.instance().id in asyncio.run(request_info(home))
    assert down(home)
    assert not down(home)
    assert is_up(home) is None
    assert not any(map(alive, running.values()))
    until(lambda: not alive(state.pid), "the supervisor ended")
    assert "serving as intake" in (home.logs / "intake.log").read_text()


def test_what_was_stored_and_the_passwords_and_the_port_outlive_a_restart(home: Home) -> None:
    start(home, sleeper())
    before, files = connection(home), {f.name: f.read_text() for f in home.secrets.iterdir()}
    down(home)
    start(home, sleeper())
    assert connection(home) == before
    assert {f.name: f.read_text() for f in home.secrets.iterdir()} == files
    assert all(f.stat().st_mode & 0o077 == 0 for f in [*home.secrets.iterdir(), home.nats / "nats.conf"])


def test_no_password_is_in_a_log_or_in_what_runs(home: Home) -> None:
    start(home, python("intake", ANSWERS, user="intake", service="intake"))
    passwords = [f.read_text().strip() for f in home.secrets.iterdir()]
    told = [f.read_text() for f in (*home.logs.iterdir(), *home.run.iterdir())]
    told += [Path(f"/proc/{pid}/{what}").read_text() for pid in pids(home).values() for what in ("cmdline", "environ")]
    assert not [text for text in told for password in passwords if password in text]


def test_a_second_up_is_refused_in_one_line(home: Home) -> None:
    state = start(home, sleeper())
    for detach in (True, False):
        with pytest.raises(LodeError, match=f"pid {state.pid}.*lode down") as told:
            up(home, detach=detach, table=[sleeper()])
        assert "\n" not in str(told.value)
    assert pids(home) == {p.name: p.pid for p in state.processes}


def test_a_killed_process_is_started_again(home: Home) -> None:
    start(home, python("intake", ANSWERS, user="intake", service="intake"))
    before = pids(home)
    for name in ("intake", "nats"):
        os.kill(before[name], signal.SIGKILL)
        until(lambda name=name: pids(home).get(name, before[name]) != before[name], f"{name} is back")
    state = read_state(home)
    assert state
    assert [(p.restarts, p.last_exit) for p in state.processes] == [(1, "SIGKILL"), (1, "SIGKILL")]
    until(lambda: not is_free(home.instance().ports["nats"]), "the server listens again")
    assert asyncio.run(request_info(home))


def test_a_killed_supervisor_leaves_no_process(home: Home) -> None:
    state = start(home, python("intake", ANSWERS, user="intake", service="intake"), sleeper(), sleeper("other"))
    running = pids(home)
    os.kill(state.pid, signal.SIGKILL)
    until(lambda: not any(map(alive, running.values())), f"all of {running} ended")
    assert is_up(home) is None
    start(home, sleeper())


@pytest.mark.parametrize("killed", ["supervisor", "guard"])
def test_a_killed_instance_leaves_no_folder_of_its_workers(home: Home, killed: str) -> None:
    """Of those that were killed with the supervisor, and of those that a guard's end did not give the time."""
    state = start(home, python("fetch", FOLDER))
    until(lambda: any(home.work.glob("fetch-*")), "it has a folder")
    guard = int(Path(f"/proc/{state.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill({"supervisor": state.pid, "guard": guard}[killed], signal.SIGKILL)
    until(lambda: not any(home.work.iterdir()), "its folder is gone")


@pytest.mark.parametrize("killed", ["family", "supervisor", "guard"])
def test_what_a_service_started_ends_with_it(home: Home, killed: str) -> None:
    """Also a process in a session of its own, which no group holds, and its child."""
    state = start(home, python("family", FAMILY))
    until(lambda: (home.logs / "family.log").read_text().endswith("\n"), "it has a family")
    family = [int(pid) for pid in (home.logs / "family.log").read_text().split()]
    guard = int(Path(f"/proc/{state.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill({"supervisor": state.pid, "guard": guard, **pids(home)}[killed], signal.SIGKILL)
    until(lambda: not any(map(alive, family)), f"{family} is gone")


def test_a_process_that_ignores_sigterm_is_killed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    )
    code = (
        "import sys; from lodestream.local import Home, supervisor; from lodestream.local.child import Program\n"
        "from pathlib import Path; supervisor.GRACE = 0.3\n"
        f"table = [Program(name='stubborn', argv=[sys.executable, '-c', {stubborn!r}], user='operator')]\n"
        "supervisor.supervise(Home(Path(sys.argv[1])), table, lambda state: print(flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code, home.root], stdout=subprocess.PIPE) as foreground:
        assert foreground.stdout
        foreground.stdout.readline()
        until(lambda: (home.logs / "stubborn.log").read_text(), "it ignores the signal")
        running = pids(home)
        foreground.terminate()
        assert foreground.wait(30) == 0
    assert not any(map(alive, running.values()))


def test_a_service_that_does_not_start_is_told_with_its_last_words(home: Home) -> None:
    broken = python("intake", "raise SystemExit('no module named anything')", user="intake", service="intake")
    with pytest.raises(LodeError, match="no module named anything") as told:
        up(home, detach=True, table=[sleeper(), broken])
    assert str(told.value).startswith("intake does not start (ended by status 1)")
    assert read_state(home) is None


def test_a_port_that_is_taken_is_passed_over(home: Home) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        home.prepare()
        instance = home.instance()
        instance.ports["nats"] = stranger.getsockname()[1]
        home.save(instance)
        start(home, sleeper())
        assert home.instance().ports["nats"] != stranger.getsockname()[1]
        assert asyncio.run(request_info(home))


@pytest.mark.parametrize("kills", [0, 1])
def test_a_port_that_is_taken_from_a_running_instance_is_changed(home: Home, kills: int) -> None:
    """Also where the server is killed while it starts there: what was up once is not given up."""
    state = start(home, python("intake", ANSWERS, user="intake", service="intake"))
    before, killed = connection(home).url, {pids(home)["nats"]}
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(*killed, signal.SIGKILL)
        until(lambda: is_free(int(before.rpartition(":")[2])), "the server is gone")
        stranger.bind(("127.0.0.1", int(before.rpartition(":")[2])))
        stranger.listen()
        until(lambda: connection(home).url != before, "it moves")
        while len(killed) <= kills:
            if (pid := pids(home).get("nats")) and pid not in killed and alive(pid):
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
        until(lambda: is_up(home), "it has moved")
        assert asyncio.run(request_info(home))
        assert pids(home).keys() == {p.name for p in state.processes}


def test_the_services_themselves_are_ready_as_many_as_asked_for(home: Home) -> None:
    up(home, detach=True, counts={"intake": 2})
    state = is_up(home)
    assert state
    names = [p.name for p in state.processes if p.state == "running"]
    assert {"nats", "catalog", "intake", "intake-2", *node_types()} == set(names) - {"triton"}, "it comes when it can"
    assert [p.name for p in state.processes if p.restarts] == []


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """Played by a limit on the size of files."""
    limited = f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)); {STARTS}"
    done = subprocess.run([sys.executable, "-c", limited, tmp_path / "home"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot write to")
    assert done.stderr.count("\n") == 1


def test_instances_live_side_by_side(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "the other's “zweites” $HOME")
    try:
        start(home, sleeper())
        start(other, sleeper())
        assert asyncio.run(request_info(home)) != asyncio.run(request_info(other))
        assert connection(home).url != connection(other).url
        down(other)
        assert is_up(home)
    finally:
        down(other)


def test_a_home_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LodeError, match="cannot write to") as told:
        up(Home(tmp_path / "file"), detach=True, table=[])
    assert "\n" not in str(told.value)
