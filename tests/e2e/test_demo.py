"""`lode demo` as a person runs it: real processes, a fresh LODE_HOME, and the outcome looked at from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lodestream.demo.clips import Clip
from lodestream.demo.site import files_in
from lodestream.local import Home
from tests.support.cli import run_lode

pytestmark = pytest.mark.timeout(300)

FRAMES = {
    "/live/tram/index.m3u8": [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000],
    "/podcast/one.mp4": [0, 1000, 2000, 3000, 4000],
    "/podcast/two.mp4": [0, 1000, 2000, 3000, 4000, 5000, 6000],
    "/toys/night.mp4": [0, 1000, 2000, 3000],
    "/toys/table-small.mp4": [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000],
    "/toys/table.mp4": [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000],
    "/videos/harbour.mp4": [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000],
    "/videos/kite.mp4": [0, 1080, 2000, 3060, 4030, 5040, 6010],
    "/videos/ladder.mp4": [0, 1000, 2000, 3000, 4000, 5000],
    "/videos/market.webm": [0, 1000, 2000, 3000, 4000, 5000],
    "/videos/meadow.mp4": [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000],
    "/videos/rain.mp4": [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000],
    "/videos/torn.mp4": [0, 1000, 2000, 3000, 4000, 5000],
    "/watch/potter.html": [0, 1000, 2000, 3000, 4000, 5000],
}
"""What the site must give, written down once more: milliseconds of each frame, by path."""
TABLES = ("seeds", "candidates", "listings", "media", "shards", "frames", "rejects", "judged", "uniques", "boxes")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def lode(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command of `lode`, to its end."""
    return subprocess.run(command(*arguments), env=environment(home), capture_output=True, text=True, check=False)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lodestream.cli", *arguments]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "LODE_HOME": str(home)}


def sql(home: Path, query: str) -> list[dict[str, Any]]:
    """What the catalog answers while nothing is up."""
    answer: list[dict[str, Any]] = json.loads(run_lode(home, "sql", "--json", query).stdout)
    return answer


def assert_outcome(home: Path) -> None:
    """The final tables are what the site must give."""
    path = "regexp_replace(url, '^http://[^/]+(/mirror/)?', if(url like '%/mirror/%', '/videos/', ''))"
    found = sql(home, f"select {path} as path, list(time_ms order by time_ms) as times "
                      "from frames join media using (flow, media_id) group by path order by path")  # fmt: skip
    assert {row["path"]: row["times"] for row in found} == FRAMES
    rejects = sql(home, "select node, reason from rejects order by reason")
    assert [(row["node"], row["reason"]) for row in rejects] == [
        ("new", "all duplicates"),
        ("get", "duplicate"),
        *[("good", "empty after filter")] * 12,
        ("get", "fake"),
        ("get", "gone"),
    ]
    (dead,) = sql(home, "select node, reason, detail from dead")
    assert dead["node"] == "seeds"
    assert "vidoe" in dead["detail"]
    assert sql(home, "select count(*) as n, count(distinct url) as urls from candidates") == [{"n": 17, "urls": 17}]
    (damaged,) = sql(home, "select url, damage from media where damaged")
    assert damaged["url"].endswith("/videos/torn.mp4")
    kept = sql(home, "select prompt, count(*) as n from kept group by prompt order by prompt")
    assert kept == [{"prompt": "a red ball", "n": 8}, {"prompt": "a yellow ball", "n": 6}]
    assert sql(home, "select count(*) as n, min(similarity) > 0.92 as alike from duplicates") == [
        {"n": 9, "alike": True}
    ]
    boxes = sql(
        home, "select label, count(*) as n, count(distinct frame_id) as frames from boxes group by all order by 1"
    )
    assert boxes == [{"label": "red ball", "n": 4, "frames": 4}, {"label": "yellow ball", "n": 1, "frames": 1}]


def processes_of(home: Path) -> list[str]:
    """Command lines of every process that was told of this home."""
    mark, found = f"LODE_HOME={home}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_twice_on_one_instance(home: Path) -> None:
    first = lode(home, "demo")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "All is as it must be" in first.stdout
    assert_outcome(home)
    with Image.open(home / "demo" / "contact-sheet.png") as sheet:
        assert sheet.height > sheet.width > 1000
    before = {table: sql(home, f"from {table} order by seq") for table in TABLES}
    again = lode(home, "demo")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "nothing was added, nothing downloaded" in again.stdout
    assert {table: sql(home, f"from {table} order by seq") for table in TABLES} == before
    assert_outcome(home)
    assert processes_of(home) == []


def test_killed_in_the_middle_and_run_again(home: Path) -> None:
    with subprocess.Popen(
        command("demo"), env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as demo:
        deadline = time.monotonic() + 120
        while not list(home.glob("objects/**/media/*/*")):
            assert time.monotonic() < deadline, "nothing was downloaded"
            assert demo.poll() is None, (demo.stdout or sys.stdin).read()
            time.sleep(0.01)
        demo.send_signal(signal.SIGKILL)
    again = lode(home, "demo")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Carried on" in again.stdout
    assert_outcome(home)
    assert processes_of(home) == []


def test_a_site_that_gives_something_else_fails_it(home: Path) -> None:
    Home(home).prepare()
    other = files_in(home / "demo") / "videos" / "harbour.mp4"
    other.parent.mkdir(parents=True)
    other.write_bytes(Clip("another", seconds=3).encode())
    done = lode(home, "demo")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "/videos/harbour.mp4: frames at [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000] ms expected" in done.stdout
    assert "at [0, 1000, 2000] ms found" in done.stdout
    assert processes_of(home) == []
