"""The command line against a whole instance of its own, as a person uses it."""

import asyncio
import csv
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nats
import pytest

from lodestream.demo.clips import Clip
from lodestream.local import Home
from lodestream.local.triton import lacks
from tests.support.cli import Ended, read_terminal, run_lode
from tests.support.servers import program

Lode = Callable[..., Ended]
ROOT = Path(__file__).parents[2]
FLOW = """\
flow: clips
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, allow_folders: ["{folder}"]}}
  get:    {{type: fetch, from: find, allow_folders: ["{folder}"]}}
  frames: {{type: extract, from: get, every: {every}}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("instance") / "home"


@pytest.fixture(scope="module")
def lode(home: Path) -> Lode:
    """Runs `lode` with this instance's home, and checks its exit status."""
    return partial(run_lode, home)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of 4 and 6 seconds, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "a.mp4").write_bytes(Clip("a", seconds=4).encode())
    (folder / "b.mp4").write_bytes(Clip("b", seconds=6).encode())
    (folder / "c.mp4").write_bytes(b"<html>no video</html>")
    return folder


@pytest.fixture(scope="module")
def flow_file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("flows") / "clips.yaml"
    file.write_text(FLOW.format(folder=folder, every="1s"))
    return file


@pytest.fixture(scope="module")
def up(lode: Lode) -> Iterator[Lode]:
    """`lode`, with the instance up."""
    program("nats-server")
    lode("up", "-d")
    yield lode
    lode("down")


@pytest.fixture(scope="module")
def mined(up: Lode, flow_file: Path, folder: Path) -> Lode:
    """`lode`, with a flow deployed and a folder mined; one seed is malformed."""
    up("flow", "deploy", str(flow_file))
    up("seed", "clips", str(folder), '{"kind": "vidoe", "value": "x"}')
    up("wait", "clips", "--timeout", "60s")
    return up


def rows(lode: Lode, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lode("sql", query, "--json").stdout)
    return found


def until(check: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def workers(lode: Lode, node: str) -> int:
    """How many workers serve a node of the flow: a pause is known to them a moment later."""
    [flow] = json.loads(lode("status", "clips", "--json").stdout)["flows"]
    return next(int(each["workers"]) for each in flow["nodes"] if each["name"] == node)


def test_status_says_what_runs_and_what_to_do_first(up: Lode, home: Path) -> None:
    said = up("status").stdout
    assert f"{home}: up, started" in said
    assert "running: nats, " in said
    assert "lode flow new" in said or "clips" in said
    assert "\x1b" not in said


def test_a_second_up_is_refused_in_one_line(up: Lode, home: Path) -> None:
    assert up("up", "-d", status=1).stderr.startswith(f"lode: already up in {home}")


def test_status_counts_what_each_node_did(mined: Lode) -> None:
    told = json.loads(mined("status", "clips", "--json").stdout)
    assert told["ready"] is True
    assert told["problems"] == []
    [flow] = told["flows"]
    nodes = {node["name"]: node for node in flow["nodes"]}
    assert {name: (n["given"], n["rejected"], n["dead"], n["workers"]) for name, n in nodes.items()} == {
        "seeds": (1, 0, 1, 1),
        "find": (4, 0, 0, 1),
        "get": (2, 1, 0, 1),
        "frames": (2, 0, 0, 1),
    }
    assert flow["catalog_behind"] == 0


def test_sql_gives_a_table_json_and_csv(mined: Lode) -> None:
    query = "select time_ms, count(*) as n from frames where flow = 'clips' group by all order by all limit 1"
    assert mined("sql", query).stdout == "time_ms  n\n      0  2\n"
    assert rows(mined, query) == [{"time_ms": 0, "n": 2}]
    assert list(csv.reader(io.StringIO(mined("sql", query, "--csv").stdout))) == [["time_ms", "n"], ["0", "2"]]
    assert mined("sql", stdin=query).stdout == mined("sql", query).stdout
    assert mined("sql", "from media where false", "--json").stdout == "[]\n"


@pytest.mark.parametrize("query", ["selec", "from nothing", "from read_text('/etc/passwd')", "drop table media", ""])
def test_sql_refuses_in_one_line(mined: Lode, query: str) -> None:
    ended = mined("sql", query, status=1)
    assert ended.stdout == ""
    assert ended.stderr.startswith("lode: ")
    assert ended.stderr.count("\n") == 1


def test_show_walks_from_the_seed_to_the_frames(mined: Lode) -> None:
    frame = rows(mined, "select frame_id, media_id, shard_id from frames where time_ms = 1000 limit 1")[0]
    [seed] = rows(mined, "select seed_id from seeds")
    video = mined("show", frame["media_id"]).stdout
    order = [video.index(word) for word in (f"seed {seed['seed_id']}", "candidate ", "media ", "shard ")]
    assert order == sorted(order)
    assert f"frame {frame['frame_id']}" in mined("show", frame["frame_id"]).stdout
    assert frame["shard_id"] in mined("show", frame["shard_id"]).stdout
    whole = mined("show", seed["seed_id"][:-4]).stdout
    assert whole.count("candidate ") == 3
    assert whole.count("rejected ") == 1
    assert "3 offered" in whole


def test_show_knows_what_it_does_not_know(mined: Lode) -> None:
    assert "nothing is known by the id 'zzz'" in mined("show", "zzz", status=1).stderr
    assert "3 ids begin with 'file'" in mined("show", "file", status=1).stderr or mined("show", "web", status=1)


def test_dead_letters_are_listed_shown_and_retried(mined: Lode) -> None:
    [letter] = json.loads(mined("dead", "ls", "clips", "--json").stdout)
    assert "1 x unknown kind, at node seeds of flow clips" in mined("dead", "ls").stdout
    assert '"kind": "vidoe"' in mined("dead", "show", letter["entity"]).stdout
    assert mined("dead", "retry", "seeds").stdout == f"retried  {letter['entity']}  unknown kind\n"
    mined("wait", "clips", "--timeout", "30s")
    [again] = json.loads(mined("dead", "ls", "--json").stdout)
    assert (again["entity"], again["at"] > letter["at"]) == (letter["entity"], True)
    assert "no dead letter" in mined("dead", "drop", "nobody", status=1).stderr


def test_wait_gives_up_with_what_is_left_and_knows_a_pause(mined: Lode, folder: Path) -> None:
    mined("flow", "pause", "clips", "find")
    while workers(mined, "find"):
        time.sleep(0.1)
    try:
        mined("seed", "clips", str(folder), "--again")
        ended = mined("wait", "clips", "--timeout", "20s", status=1)
        assert ended.stderr.endswith(
            "lode: clips is paused: find 1 waiting; let it go on: lode flow resume clips find\n"
        )
    finally:
        assert mined("flow", "resume", "clips").stdout == "resumed: find\n"
    mined("wait", "clips", "--timeout", "30s")
    assert rows(mined, "select count(*) as n from media") == [{"n": 2}]


def test_flows_are_linted_diffed_and_shown(mined: Lode, flow_file: Path, folder: Path, tmp_path: Path) -> None:
    assert mined("flow", "show", "clips").stdout.strip() == flow_file.read_text().strip()
    assert "nothing to do" in mined("flow", "diff", str(flow_file)).stdout
    slower = tmp_path / "slower.yaml"
    slower.write_text(FLOW.format(folder=folder, every="2s"))
    assert "does its work again" in mined("flow", "diff", str(slower)).stdout
    slower.write_text(FLOW.format(folder=folder, every="often"))
    ended = mined("flow", "deploy", str(slower), status=1)
    assert ended.stdout.startswith(f"{slower}:6:")
    assert ended.stderr == f"lode: 1 mistake in {slower}: nothing was done\n"
    assert [flow["flow"] for flow in json.loads(mined("flow", "ls", "--json").stdout)] == ["clips"]


def test_a_seed_for_an_unknown_flow_names_those_there_are(mined: Lode) -> None:
    assert "deployed: clips" in mined("seed", "clisp", "x", status=1).stderr


def test_a_seed_of_two_megabytes_is_kept_and_refused_in_words(mined: Lode, tmp_path: Path) -> None:
    file = tmp_path / "seeds.txt"
    file.write_text("x" * 2_000_000 + "\n")
    mined("seed", "clips", "--file", str(file))
    mined("wait", "clips", "--timeout", "30s")
    [letter] = [d for d in json.loads(mined("dead", "ls", "--json").stdout) if d["reason"] == "too long"]
    mined("dead", "drop", letter["entity"])


def test_the_catalog_is_rebuilt_as_it_was(mined: Lode, home: Path) -> None:
    query = "select flow, node, inputs, out, rejected, dead from progress"
    mined("wait", "clips", "--timeout", "30s")
    before = rows(mined, query)
    assert "0" in mined("catalog", "rebuild").stdout
    assert rows(mined, query) == before
    assert json.loads(mined("catalog", "status", "--json").stdout)["lag"] == 0
    assert "frames" in mined("catalog", "snapshot").stdout
    assert list((home / "objects").rglob("*.parquet"))


def test_env_is_enough_for_other_clients(mined: Lode, home: Path) -> None:
    exports = mined("env", "--shell").stdout
    call = 'eval "$EXPORTS"; test -d "$LODE_HOME" && echo "$NATS_URL $NATS_USER ${#NATS_PASSWORD}"'
    ended = subprocess.run(["bash", "-c", call], env={"EXPORTS": exports}, capture_output=True, text=True, check=True)
    url, user, letters = ended.stdout.split()
    assert url.startswith("nats://127.0.0.1:")
    assert (user, int(letters) > 30) == ("operator", True)
    duckdb = [line.removeprefix("#") for line in mined("env").stdout.splitlines() if line.endswith(";")]
    check = subprocess.run(
        [sys.executable, "-c", "import duckdb, sys; print(len(duckdb.connect().execute(sys.argv[1]).fetchall()))",
         "\n".join(duckdb)], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert check.stdout.splitlines()[-1:] == ["1"], check.stderr  # a slow machine is shown a progress bar above
    assert f"InferenceServerClient({Home(home).triton()!r})" in mined("env").stdout


def test_no_other_command_prints_a_secret(mined: Lode, home: Path) -> None:
    secrets = [file.read_text().strip() for file in [*(home / "secrets").iterdir(), home / "catalog" / "quack.token"]]
    said = "".join(
        mined(*call).stdout for call in (["status"], ["status", "--json"], ["doctor"], ["logs"], ["catalog", "status"])
    )
    assert len(secrets) > 4
    assert [secret for secret in secrets if secret in said] == []


def test_doctor_finds_nothing_wrong(mined: Lode) -> None:
    found = {finding["what"]: finding for finding in json.loads(mined("doctor", "--json").stdout)}
    assert found["instance"]["verdict"] == found["objects"]["verdict"] == found["catalog"]["verdict"] == "ok"
    assert found["triton"]["verdict"] == ("note" if lacks() else "ok")


def test_doctor_compares_objects_and_has_damaged_ones_made_again(mined: Lode, home: Path) -> None:
    media, shard = (
        sorted((home / "objects").glob("media/*/*.mp4"))[0],
        sorted((home / "objects").glob("frames/*/*/*"))[-1],
    )
    before = media.read_bytes(), shard.read_bytes()
    assert "0 not as they should be" in mined("doctor", "--check-objects", COLUMNS="200").stdout
    media.write_bytes(bytes(len(before[0])))
    shard.unlink()
    said = json.loads(mined("doctor", "--check-objects", "--json", status=1).stdout)
    assert {f["what"] for f in said if f["verdict"] == "bad"} == {"wrong object", "missing object", "all objects"}
    assert media.read_bytes() == bytes(len(before[0])), "nothing is changed by a look"
    said = json.loads(mined("doctor", "--repair", "--json").stdout)
    assert sorted(f["advice"] for f in said if f["what"] in ("wrong object", "missing object")) == [
        "made again by node frames of flow clips",
        "made again by node get of flow clips",
    ]
    assert (media.read_bytes(), shard.read_bytes()) == before
    assert "0 not as they should be" in mined("doctor", "--check-objects", "--deep", COLUMNS="200").stdout


def test_logs_are_shown_by_service(mined: Lode) -> None:
    assert "Server is ready" in mined("logs", "nats").stdout
    assert "no log of 'fetsh'" in mined("logs", "fetsh", status=1).stderr


def test_completion_knows_the_deployed_flows(mined: Lode) -> None:
    asked = {"_LODE_COMPLETE": "bash_complete", "COMP_WORDS": "lode wait c", "COMP_CWORD": "2"}
    assert mined(**asked).stdout == "plain,clips\n"


def test_watching_redraws_until_interrupted(mined: Lode, home: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(LODE_HOME=str(home), TERM="xterm", COLUMNS="120", LINES="40", PYTHONPATH=str(ROOT))
        os.execv(sys.executable, [sys.executable, "-m", "lodestream.cli", "status", "--watch"])
    seen = read_terminal(terminal, lambda seen: seen.count(b"running: ") >= 2)
    os.kill(process, signal.SIGINT)
    seen += read_terminal(terminal, lambda _: False)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert b"\x1b[2K" in seen
    assert b"Traceback" not in seen


def test_sql_and_show_work_while_nothing_is_up(mined: Lode, home: Path) -> None:
    media = rows(mined, "select media_id from media order by all")
    mined("down")
    try:
        assert rows(mined, "select media_id from media order by all") == media
        assert "shard " in mined("show", media[0]["media_id"]).stdout
        assert mined("status", status=1).stderr == f"lode: nothing is up in {home}; start it with: lode up -d\n"
        assert "nothing is up" in mined("doctor").stdout
        assert "nothing was up" in mined("down").stderr
    finally:
        mined("up", "-d")
    assert rows(mined, "select media_id from media order by all") == media


def test_a_reset_says_how_much_waits_and_gives_nothing_twice(mined: Lode) -> None:
    before = rows(mined, "select count(*) as n from history.shards")
    said = mined("flow", "reset", "clips", "frames").stdout
    assert "frames (extract): does its work again, because it is reset; known results are not made twice" in said
    assert "frames (extract): wire get.media, 2 waiting" in said
    mined("wait", "clips", "--timeout", "60s")
    assert rows(mined, "select count(*) as n from history.shards") == before
    assert "flow clips has no node 'framez'" in mined("flow", "reset", "clips", "framez", status=1).stderr


def test_a_seed_that_came_before_its_flow_leaves_the_dead_letters(mined: Lode, home: Path, tmp_path: Path) -> None:
    async def publish() -> None:
        nc = await nats.connect(told["NATS_URL"], user=told["NATS_USER"], password=told["NATS_PASSWORD"])
        await nc.request("seeds.later", b'{"kind": "vidoe", "value": "x"}')
        await nc.close()

    def dead(flow: str) -> list[str]:
        return [letter["reason"] for letter in json.loads(mined("dead", "ls", flow, "--json").stdout)]

    told = dict(word.split("=", 1) for word in shlex.split(mined("env", "--shell").stdout) if "=" in word)
    asyncio.run(publish())
    until(lambda: dead("later") == ["unknown flow"])
    assert "no flow 'later' is deployed" in mined("dead", "retry", "unknown flow", status=1).stderr
    file = tmp_path / "later.yaml"
    file.write_text("flow: later\nnodes:\n  in: {type: intake}\n")
    mined("flow", "deploy", str(file))
    until(lambda: dead("later") == ["unknown kind"])
    assert "say which" in mined("dead", "drop", status=2).stderr
    count = len(json.loads(mined("dead", "ls", "--json").stdout))
    assert mined("dead", "drop", "--all").stdout.count("dropped  ") == count
    assert mined("dead", "ls").stdout == ""
    mined("flow", "rm", "later", "--purge")


def test_a_removed_flow_keeps_what_it_gave(mined: Lode, flow_file: Path) -> None:
    said = mined("flow", "rm", "clips").stdout
    assert "  4 consumers: clips, discover-1, extract-2, fetch-1 go\n" in said
    assert "  its stream stays: " in said
    assert mined("flow", "ls").stdout == ""
    mined("flow", "deploy", str(flow_file))
    mined("wait", "clips", "--timeout", "60s")
    assert rows(mined, "select count(*) as n from media") == [{"n": 2}]
    said = mined("flow", "rm", "clips", "--purge").stdout
    assert "  its stream goes: " in said
    assert re.search(r"  4 objects of no other flow \(\S+ kB\) stay\n", said)
