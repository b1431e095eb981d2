"""`lode forget` and `lode replay` on a whole instance, as a person uses them."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from lodestream.demo.clips import Clip
from tests.support.cli import Ended, run_lode
from tests.support.servers import program

Lode = Callable[..., Ended]
FLOW = """\
flow: {name}
nodes:
  seeds:  {{type: intake}}
  find:   {{type: discover, from: seeds, allow_folders: ["{folder}"]}}
  get:    {{type: fetch, from: find, allow_folders: ["{folder}"]}}
  frames: {{type: extract, from: get, every: 1s}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video twice, and another."""
    folder = tmp_path_factory.mktemp("videos")
    for name, file in (("a", "a.mp4"), ("a", "again.mp4"), ("b", "b.mp4")):
        (folder / file).write_bytes(Clip(name, seconds=3).encode())
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("instance") / "home"


@pytest.fixture(scope="module")
def lode(home: Path, folder: Path) -> Iterator[Lode]:
    """The command, on an instance where a flow has been through all videos."""
    program("nats-server")
    lode = partial(run_lode, home)
    lode("up", "-d")
    mine(lode, folder, "clips")
    yield lode
    lode("down")


def mine(lode: Lode, folder: Path, name: str) -> None:
    file = folder.parent / f"{name}.yaml"
    file.write_text(FLOW.format(name=name, folder=folder))
    lode("flow", "deploy", str(file))
    lode("seed", name, str(folder))
    lode("wait", name, "--timeout", "60s")


def look_again(lode: Lode, folder: Path, name: str, turn: str) -> None:
    """Another round: what a seed led to before is remembered."""
    lode("seed", name, json.dumps({"folder": str(folder), "round": turn}))
    lode("wait", name, "--timeout", "60s")


def rows(lode: Lode, query: str) -> list[str]:
    return lode("sql", "--csv", query).stdout.splitlines()[1:]


def says(lode: Lode, query: str, wanted: str) -> None:
    """Wait until the catalog, which comes behind, says this."""
    deadline = time.monotonic() + 60
    while rows(lode, query) != [wanted]:
        assert time.monotonic() < deadline, rows(lode, query)
        time.sleep(0.2)


def objects(home: Path) -> dict[str, bytes]:
    found = (path for path in (home / "objects").rglob("*") if path.is_file())
    return {str(path.relative_to(home)): path.read_bytes() for path in found}


def test_a_replay_makes_the_same_again_and_changes_nothing(lode: Lode, home: Path) -> None:
    (seq, *_) = rows(lode, "select seq from media order by seq")
    before, count = objects(home), rows(lode, "select sum(messages) from history.counts")
    shown = lode("replay", f"FLOW_clips:{seq}").stdout
    assert shown.count("same: flow.clips.extract.frames.shards.") == 1
    assert "1 outputs and 1 objects" in shown
    assert objects(home) == before
    assert rows(lode, "select sum(messages) from history.counts") == count


def test_one_node_of_several_is_named(lode: Lode) -> None:
    (seq, *_) = rows(lode, "select seq from media order by seq")
    assert "frames of flow clips (extract)" in lode("replay", f"FLOW_clips:{seq}", "--node", "frames").stdout


def test_a_replay_that_fails_says_so(lode: Lode, home: Path) -> None:
    seq, key = rows(lode, "select seq, object_key from media order by seq limit 1")[0].split(",")
    file = home / "objects" / key
    kept = file.read_bytes()
    file.unlink()
    try:
        shown = lode("replay", f"FLOW_clips:{seq}", status=1).stdout
    finally:
        file.write_bytes(kept)
    assert "failed after" in shown
    assert "Traceback" in shown


def test_what_cannot_be_replayed_is_refused_in_words(lode: Lode) -> None:
    (media, *_) = rows(lode, "select media_id from media")
    assert "messages are about" in lode("replay", media, status=1).stderr
    assert "no stored message is about 'nothing'" in lode("replay", "nothing", status=1).stderr
    assert "there is no message FLOW_clips:99999" in lode("replay", "FLOW_clips:99999", status=1).stderr
    (seed, *_) = rows(lode, "select seed_id from seeds")
    refused = lode("replay", f"flow.clips.intake.seeds.seeds.{seed}", "--node", "frames", status=1).stderr
    assert "no deployed node 'frames' takes" in refused
    assert "find" in refused


def test_a_forgotten_video_is_gone_and_comes_back_only_when_it_is_let(lode: Lode, home: Path, folder: Path) -> None:
    video = (folder / "a.mp4").as_uri()
    before = objects(home)
    planned = lode("forget", video)
    assert "again.mp4  (the same bytes)" in planned.stdout
    assert "2 candidates, 1 media, 1 rejected, 1 shard" in planned.stdout
    assert "Nothing was changed" in planned.stderr
    assert objects(home) == before
    (left,) = rows(lode, "select media_id from media where url like '%/b.mp4'")
    lode("forget", video, "--yes")
    gone = lode("forget", "--ls").stdout.split()[3:5][1]
    assert rows(lode, "select media_id from media") == [left]
    tables = ("candidates", "media", "shards", "rejects", "history.counts", "forgotten")
    live = {table: sorted(rows(lode, f"select * from {table}")) for table in tables}
    lode("catalog", "rebuild")
    assert {table: sorted(rows(lode, f"select * from {table}")) for table in tables} == live
    assert not [key for key, data in objects(home).items() if "forgotten/" not in key and gone.encode() in data]
    mine(lode, folder, "more")
    look_again(lode, folder, "more", "2")
    says(lode, "select reason, count(*) from rejects where flow = 'more' group by all", "forgotten,2")
    says(lode, "select count(*) from candidates where flow = 'more'", "1")
    lode("forget", "--undo", gone)
    look_again(lode, folder, "more", "3")
    says(lode, "select count(*) from media where flow = 'more'", "2")
