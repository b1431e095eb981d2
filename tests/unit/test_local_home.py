"""The folder of an instance, its ports, its logs and its lock, without a server."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lodestream.errors import LodeError
from lodestream.local import logs, ports, up
from lodestream.local.home import RECORD, Home, write_whole
from lodestream.local.lock import holder, only_supervisor
from lodestream.local.logs import RotatedLog, tail
from lodestream.local.table import process_table


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    os.umask(0o022)
    home = Home(tmp_path)
    home.prepare()
    first = home.make_passwords(["a", "b"])
    assert stat.S_IMODE(home.secrets.stat().st_mode) == 0o700
    assert [stat.S_IMODE(home.password_file(user).stat().st_mode) for user in first] == [0o600, 0o600]
    assert len({*first.values()}) == 2
    home.password_file("a").write_text("")  # as a power cut may leave it
    second = home.make_passwords(["a", "b", "c"])
    assert second["b"] == first["b"]
    assert all(len(password) > 40 for password in second.values())


def test_a_home_keeps_its_identity(tmp_path: Path) -> None:
    home = Home(tmp_path / "new" / "home")
    home.prepare()
    first = home.instance()
    home.prepare()
    assert home.instance() == first


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ('{"format": 99, "id": "x"}', "another version"),
        ("{", "not readable"),
        ("[]", "not readable"),
        ("{}", "not readable"),
    ],
)
def test_what_is_not_ours_to_read_is_refused_in_one_line(tmp_path: Path, record: str, words: str) -> None:
    (tmp_path / RECORD).write_text(record)
    with pytest.raises(LodeError, match=words) as told:
        Home(tmp_path).prepare()
    assert "\n" not in str(told.value)
    assert (tmp_path / RECORD).read_text() == record


def test_a_folder_of_other_things_is_not_made_a_home(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(LodeError, match=r"thesis\.tex"):
        up(Home(tmp_path), detach=True, table=[])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_home_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LodeError, match="cannot write to"), only_supervisor(Home(root)):
            pass
        with pytest.raises(LodeError, match="cannot write to"):
            Home(root).prepare()


def test_no_instance_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(LodeError, match="lode up"):
        Home(tmp_path).nats_url()


def test_the_home_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LODE_HOME", str(tmp_path / "a b"))
    assert Home.find().root == tmp_path / "a b"
    monkeypatch.delenv("LODE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Home.find().root == tmp_path / ".lodestream"


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "f", b"one", mode=0o600)
    write_whole(tmp_path / "f", b"two", mode=0o600)
    assert (tmp_path / "f").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_port_that_is_taken_is_passed_over_and_a_kept_one_is_kept() -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        taken = stranger.getsockname()[1]
        assert ports.choose("nats", taken) != taken
    assert ports.choose("nats", taken) == taken


def test_every_instance_has_its_own_pair_of_ports() -> None:
    usual = ports.choose_all({})
    with socket.socket() as first:
        first.bind(("127.0.0.1", usual["nats"]))
        first.listen()
        other = ports.choose_all({})
    assert not set(other.values()) & set(usual.values())


def test_logs_rotate_at_whole_lines_and_keep_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LIMIT", 100)
    log = RotatedLog(tmp_path / "x.log")
    for n in range(60):
        log.write(b"line ")
        log.write(b"%03d\n" % n)
    log.close()
    parts = [tmp_path / name for name in ("x.log.2", "x.log.1", "x.log")]
    assert sorted(tmp_path.iterdir()) == sorted(parts)
    kept = "".join(part.read_text() for part in parts).splitlines()
    assert kept == [f"line {n:03d}" for n in range(60 - len(kept), 60)]
    assert tail(tmp_path / "x.log.1", 2) == "\n".join(parts[1].read_text().splitlines()[-2:])


def test_a_log_on_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "x.log").symlink_to("/dev/full")
    RotatedLog(tmp_path / "x.log").write(b"lost\n")


def test_the_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert holder(home) is None
    code = (
        "import sys, time; from pathlib import Path; from lodestream.local.home import Home\n"
        "from lodestream.local.lock import only_supervisor\n"
        "with only_supervisor(Home(Path(sys.argv[1]))): print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        assert holder(home) == other.pid
        with pytest.raises(LodeError, match=f"pid {other.pid}.*lode down"), only_supervisor(home):
            pass
        other.kill()
    with only_supervisor(home):
        assert holder(home) == os.getpid()


def test_the_table_has_every_node_type_and_the_catalog() -> None:
    names = [program.name for program in process_table({"intake": 3})]
    assert {"intake", "intake-2", "intake-3", "catalog"} <= set(names)
    assert "intake" not in [program.name for program in process_table({"intake": 0})]
    with pytest.raises(LodeError, match="'extarct'"):
        process_table({"extarct": 2})
