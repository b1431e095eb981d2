"""Records on the command line, against a whole instance of its own: lines in, each once; files out, none twice."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Ended, run_lode
from tests.support.paged_api import PagedApi, json_lines, page_of, serve
from tests.support.servers import program

Lode = Callable[..., Ended]
FLOW = """\
flow: prices
nodes:
  seeds: {{type: intake}}
  find:  {{type: discover, from: seeds}}
  lines: {{type: records, from: seeds, id: id, items: data.items, cursor: meta.cursor, cursor_param: cursor,
          allow_hosts: ["{address}"]}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("instance") / "home"


@pytest.fixture(scope="module")
def api() -> Iterator[PagedApi]:
    with serve() as running:
        yield running


@pytest.fixture(scope="module")
def lode(home: Path, api: PagedApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lode]:
    """Runs `lode` with this instance's home, which is up and has a flow."""
    program("nats-server")
    run = partial(run_lode, home)
    file = tmp_path_factory.mktemp("flows") / "prices.yaml"
    file.write_text(FLOW.format(address=api.address))
    run("up", "-d")
    run("flow", "deploy", str(file))
    yield run
    run("down")


def exported(lode: Lode, folder: Path, *options: str) -> list[dict[str, Any]]:
    """The lines of a new file of all records."""
    path = Path(lode("export", "records", "prices", "-o", str(folder), *options).stdout.strip())
    assert path.parent == folder
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_stored_once_whoever_sends_them_again(lode: Lode, tmp_path: Path) -> None:
    source = page_of(1, 3000)
    file = tmp_path / "prices.jsonl"
    file.write_bytes(json_lines(source) + b"{broken\n\n[1]\n" + json_lines(page_of(7, 1)))
    said = lode("seed", "prices", "--records", str(file), status=1).stderr
    assert "3,000 stored, 1 known, 2 malformed" in said
    assert "line 3001: " in said
    assert "line 3003: JSON, but no object" in said
    lode("wait", "prices", "--timeout", "90s")
    lines = exported(lode, tmp_path)
    assert [line["data"] for line in sorted(lines, key=lambda line: line["data"]["id"])] == source
    assert {line["position"] for line in lines} == set(range(1, 3001))
    assert all(line["seed"] and line["cause"].startswith("flow.prices.intake.") for line in lines)
    again = lode("seed", "prices", "--records", str(file), status=1).stderr
    assert "nothing new: 0 stored, 3,001 known, 2 malformed" in again
    (tmp_path / "more.jsonl").write_bytes(json_lines(page_of(1, 1)))
    file.write_bytes(json_lines(page_of(3001, 2)) + file.read_bytes())
    assert "2 stored, 3,001 known" in lode("seed", "prices", "--records", str(file), status=1).stderr


def test_a_seed_of_an_api_and_another_round_of_it(lode: Lode, api: PagedApi, tmp_path: Path) -> None:
    url = f"{api.base}/news"
    lode("seed", "prices", "--kind", "records", url)
    lode("wait", "prices", "--timeout", "90s")
    lode("seed", "prices", "--kind", "records", url)
    lode("wait", "prices", "--timeout", "90s")
    assert set(api.asked.values()) == {1}
    api.pages = 6
    lode("seed", "prices", "--kind", "records", url, "--again")
    assert " 50 skipped because known" in lode("wait", "prices", "--timeout", "90s").stdout
    assert [line["data"] for line in exported(lode, tmp_path) if line["source"] == api.address] == api.source()
    query = "select offered, records from yields where value like 'http%' order by \"at\""
    answers = [json.loads(lode("sql", query, "--json").stdout)]
    assert answers[-1] == [{"offered": 50, "records": 50}, {"offered": 60, "records": 10}]
    assert json.loads(lode("sql", "from rejects", "--json").stdout) == []
    assert lode("dead", "ls").stdout == ""
    newest = exported(lode, tmp_path)[-1]
    assert f"{api.address}, number 60" in lode("show", newest["id"]).stdout
    assert "records " + url in lode("show", newest["seed"]).stdout.replace("records: ", "records ")


def test_a_flow_without_a_collector_takes_no_records(lode: Lode, tmp_path: Path) -> None:
    file = tmp_path / "bare.yaml"
    file.write_text("flow: bare\nnodes:\n  seeds: {type: intake}\n  find: {type: discover, from: seeds}\n")
    lode("flow", "deploy", str(file))
    for more in (["--records", str(file)], ["--kind", "records", "https://example.org/x"]):
        assert "no node of flow bare collects records" in lode("seed", "bare", *more, status=1).stderr


def test_exports_are_files_of_their_own(lode: Lode, tmp_path: Path) -> None:
    lode("seed", "prices", "--records", "-", stdin='{"id": "only"}\n')
    lode("wait", "prices", "--timeout", "90s")
    for _ in range(3):
        exported(lode, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3
    assert all(name.startswith("records-prices-") for name in names)
    file = tmp_path / "mine.jsonl"
    lode("export", "records", "prices", "-o", str(file))
    kept = file.read_bytes()
    assert "not written over" in lode("export", "records", "prices", "-o", str(file), status=1).stderr
    assert file.read_bytes() == kept
    none = lode("export", "records", "prices", "--since", "2999-01-01", "-o", str(tmp_path))
    assert "no records" in none.stderr
    assert len(list(tmp_path.iterdir())) == 4
    newest = max(json.loads(line)["at"] for line in kept.splitlines())
    assert [line["data"]["id"] for line in exported(lode, tmp_path, "--since", newest)] == ["only"]
    assert "no flow 'cats'" in lode("export", "records", "cats", status=1).stderr


def test_lines_that_were_sent_before_an_interruption_are_kept(lode: Lode, home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lodestream.cli", "seed", "prices", "--records", "-"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | {"LODE_HOME": str(home)}, **pipes) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(b'{"id": "before"}\n{"id": "half')
        process.stdin.flush()
        found = wait_for_record(lode, tmp_path, "before")
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
        assert process.wait(30) == 130
    assert found["position"] == 1
    assert "1 stored, 0 known, 0 malformed" in said


def wait_for_record(lode: Lode, folder: Path, ident: str) -> dict[str, Any]:
    """The exported record, once it is there."""
    for _ in range(60):
        lode("wait", "prices", "--timeout", "90s")
        for line in exported(lode, folder):
            if line["data"]["id"] == ident:
                return line
    pytest.fail(f"no record {ident}")
