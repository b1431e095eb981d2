"""`lode fakes` against a whole instance: suspected, confirmed, refused, and taken back."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lodestream.demo.clips import Clip
from lodestream.fakes.shelf import SUSPECT
from services.fetch.known import FRESH_S
from tests.support.cli import Ended, run_lode
from tests.support.servers import program

Lode = Callable[..., Ended]
SORRY = Clip("sorry", seconds=1)
FLOW = """\
flow: {name}
nodes:
  seeds: {{type: intake}}
  find:  {{type: discover, from: seeds, allow_folders: ["{folder}"]}}
  get:   {{type: fetch, from: find, allow_folders: ["{folder}"]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One video, and a placeholder under many names."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "real.mp4").write_bytes(Clip("real", seconds=2).encode())
    for n in range(SUSPECT + 1):
        (folder / f"v{n}.mp4").write_bytes(SORRY.encode())
    return folder


@pytest.fixture(scope="module")
def lode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lode]:
    """Runs `lode` on an instance that is up."""
    program("nats-server")
    lode = partial(run_lode, tmp_path_factory.mktemp("instance") / "home")
    lode("up", "-d")
    yield lode
    lode("down")


@pytest.fixture
def mine(lode: Lode, folder: Path, tmp_path: Path) -> Callable[[str], None]:
    """Mines the folder with a flow of its own."""

    def mine(name: str) -> None:
        time.sleep(2 * FRESH_S)  # workers read the library now and then
        file = tmp_path / f"{name}.yaml"
        file.write_text(FLOW.format(name=name, folder=folder))
        lode("flow", "deploy", str(file))
        lode("seed", name, str(folder))
        lode("wait", name, "--timeout", "60s")

    return mine


def rows(lode: Lode, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lode("sql", query, "--json").stdout)
    return found


def stats(lode: Lode) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(lode("fakes", "stats", "--json").stdout)
    return told


def test_a_placeholder_is_suspected_confirmed_refused_and_taken_back(lode: Lode, mine: Callable[[str], None]) -> None:
    sha256 = hashlib.sha256(SORRY.encode()).hexdigest()
    mine("first")
    assert {row["reason"]: row["n"] for row in rows(lode, "select reason, count(*) n from rejects group by all")} == {
        "duplicate": SUSPECT
    }
    [suspect] = stats(lode)["suspected"]
    assert (suspect["sha256"], suspect["origins"], suspect["size"]) == (sha256, SUSPECT + 1, len(SORRY.encode()))
    assert [row["urls"] for row in rows(lode, "from suspects")] == [SUSPECT + 1]
    shown = lode("fakes", "stats")
    assert f"Suspected: 1 file from more than {SUSPECT} unrelated URLs each" in shown.stdout
    assert f"lode fakes add {sha256[:16]}" in shown.stderr

    added = lode("fakes", "add", sha256[:16], "--note", "sorry")
    assert added.stdout == f"added  sha256 {sha256} (sorry)\n"
    [media] = rows(lode, f"select media_id from media where sha256 = '{sha256}'")
    assert "A video with these bytes is stored; to be rid of it: lode forget " in added.stderr
    assert media["media_id"][:4] in added.stderr
    assert stats(lode)["suspected"] == []
    mine("second")
    refused = rows(lode, "select reason, detail, count(*) as n from rejects where flow = 'second' group by all")
    assert refused == [{"reason": "fake", "detail": f"known fake: sha256 {sha256} (sorry)", "n": SUSPECT + 1}]
    assert [row["n"] for row in rows(lode, "select count(*) as n from media where flow = 'second'")] == [1]
    assert f"known fake: sha256 {sha256} (sorry)" in lode("fakes", "stats").stdout

    assert lode("fakes", "rm", sha256[:16]).stdout.startswith(f"excepted  sha256 {sha256}")
    assert stats(lode)["suspected"] == []
    mine("third")
    assert [row["n"] for row in rows(lode, "select count(*) as n from media where flow = 'third'")] == [2]


def test_what_is_exported_is_imported_whole_or_not_at_all(lode: Lode, tmp_path: Path) -> None:
    lode("fakes", "add", "example.org/sorry/*", "12345", "--note", "ours")
    lines = lode("fakes", "export").stdout.splitlines()
    lode("fakes", "rm", "12345")
    file = tmp_path / "fakes.jsonl"
    file.write_text("\n".join([*lines, '{"kind": "size", "what": "many"}']))
    ended = lode("fakes", "import", str(file), status=1)
    assert (
        ended.stderr
        == f"lode: fakes.jsonl:{len(lines) + 1}: 'many' is no size: bytes, in digits; nothing was imported\n"
    )
    assert "12345" not in lode("fakes", "ls").stdout
    said = lode("fakes", "import", "-", stdin="\n".join(lines)).stdout
    assert said == f"{len(lines)} entries read, 1 new, {len(lines) - 1} known already\n"
    listed = {entry["what"]: entry for entry in json.loads(lode("fakes", "ls", "--json").stdout)}
    assert (listed["12345"]["note"], listed["example.org/sorry/*"]["kind"]) == ("ours", "url")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["add", "nonsense"], "'nonsense' is no hash, size or URL pattern"),
        (["add", "*"], "would fit too much"),
        (["add", "ab" * 16], "no known hashes begin with"),
        (["add", "placehold.co", "--note", "x" * 300], "a note is one line"),
        (["rm", "cd" * 32], "not in the library: sha256 cdcd"),
    ],
)
def test_a_mistake_is_one_line(lode: Lode, call: list[str], said: str) -> None:
    ended = lode("fakes", *call, status=1)
    assert said in ended.stderr
    assert ended.stderr.count("\n") == 1
