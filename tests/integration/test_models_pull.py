"""`lode models pull`: from the Hub and its faults, from mirrors, made here; and what the other commands say then."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import numpy_helper

from lodestream.models.card import Card, File
from lodestream.models.shelf import Shelf
from lodestream.models.standins import STANDINS, export
from tests.support.cli import Ended, run_lode, run_lode_anyhow
from tests.support.hub import COMMIT, TAIL, Hub, start_hub
from tests.support.servers import make_bucket, start_minio

SIZE = 4 << 20
"""Bytes of the larger file, and some more."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A detector's export, of more than one chunk; and a licence."""
    folder, card = tmp_path_factory.mktemp("export"), STANDINS["standin-dfine"]
    export(card, folder)
    model = onnx.load(folder / "onnx" / "model.onnx")
    ballast = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)
    model.graph.initializer.append(numpy_helper.from_array(ballast, "ballast"))
    return {"onnx/model.onnx": model.SerializeToString(), "LICENSE.md": b"Do as you like.\n" * 100}


@pytest.fixture
def hub(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with start_hub(dict(files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture
def card(files: dict[str, bytes], tmp_path: Path) -> Path:
    """The card of the export, in a file."""
    known = tuple(File(path=p, sha256=hashlib.sha256(b).hexdigest(), bytes=len(b)) for p, b in files.items())
    return write(tmp_path, replace(
        STANDINS["standin-dfine"], name="toy", summary="a toy", repo="lab/toy", revision=COMMIT, licence="Beerware",
        parts={"detector": "toy"}, files=known,
    ))  # fmt: skip


def write(folder: Path, card: Card) -> Path:
    path = folder / "toy.json"
    path.write_bytes(msgspec.json.encode(card))
    return path


def pull(home: Path, card: Path, *more: str, status: int = 0) -> Ended:
    return run_lode(home, "models", "pull", "toy", "--card", str(card), *more, status=status)


def shelf(home: Path) -> Shelf:
    return Shelf(home / "models")


def test_from_the_hub(hub: Hub, card: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    said = pull(tmp_path, card)
    assert said.stdout == "installed toy: toy\n"
    for line in (
        "toy: a toy",
        f"from     {hub.url[7:]}/lab/toy at c0ffee",
        "licence  Beerware",
        "size     4.",
        "LICENSE.md 1.6 kB",
    ):
        assert line in said.stderr
    assert shelf(tmp_path).unfinished() == {}
    assert (tmp_path / "models" / "toy" / "LICENSE.md").read_bytes() == files["LICENSE.md"]
    assert "toy: as it was installed" in run_lode(tmp_path, "models", "verify").stdout
    asked = len(hub.asked)
    assert "toy is installed already" in pull(tmp_path, card).stderr
    assert len(hub.asked) == asked
    write(card.parent, replace(msgspec.json.decode(card.read_bytes(), type=Card), revision="feed" * 10))
    said = pull(tmp_path, card).stderr
    assert "toy is installed at c0ffee000000; to get feedfeedfeed: lode models rm toy; lode models pull toy" in said


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            "gated",
            "toy is gated: accept its licence at http://127.0.0.1:*/lab/toy, make a token there that may read it, "
            "and set HF_TOKEN",
        ),
        ("private", "there is no http://127.0.0.1:*/lab/toy, or not for you (HF_TOKEN says who asks)"),
        ("no revision", f"lab/toy has no revision {COMMIT}"),
        ("no file", f"lab/toy has no onnx/model.onnx at {COMMIT}"),
        ("broken", "cannot get onnx/model.onnx of lab/toy from 127.0.0.1:*: Server error '500"),
    ],
)
def test_a_refusal_says_what_to_do(hub: Hub, card: Path, tmp_path: Path, fault: str, words: str) -> None:
    hub.fault = fault
    said = pull(tmp_path, card, status=1).stderr
    assert said.startswith("lode: ")
    assert said.count("\n") == 1
    for part in words.split("*"):
        assert part in said
    assert "lode models pull toy --from FOLDER" in said
    assert shelf(tmp_path).cards() == []


def test_a_token_opens_what_is_gated(hub: Hub, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    pull(tmp_path, card, status=1)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    said = pull(tmp_path, card)
    assert "hf_secret" not in said.stdout + said.stderr
    assert hub.elsewhere == [None]
    assert [each.name for each in shelf(tmp_path).cards()] == ["toy"]


def test_a_hub_that_is_away_is_named(card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said = pull(tmp_path, card, status=1).stderr
    assert "cannot get onnx/model.onnx of lab/toy from 127.0.0.1:9: " in said
    assert "say the same again to go on" in said


def test_other_bytes_than_the_hub_says_are_not_installed(hub: Hub, card: Path, tmp_path: Path) -> None:
    hub.fault = "other"
    said = pull(tmp_path, card, status=1).stderr
    assert "onnx/model.onnx of toy from 127.0.0.1:" in said
    assert "is not what its card says: SHA-256 " in said
    assert said.endswith("; nothing is installed\n")
    hub.fault = ""
    pull(tmp_path, card)


def test_other_bytes_than_the_card_says_are_not_even_taken(hub: Hub, card: Path, tmp_path: Path) -> None:
    hub.files["onnx/model.onnx"] += b"more"
    assert "is not what its card says" in pull(tmp_path, card, status=1).stderr
    assert {method for method, *_ in hub.asked} == {"HEAD"}


def test_a_pull_that_was_killed_goes_on_where_it_ended(
    hub: Hub, card: Path, tmp_path: Path, files: dict[str, bytes]
) -> None:
    hub.fault = "stall"
    came = len(files["onnx/model.onnx"]) - TAIL
    command = [sys.executable, "-m", "lodestream.cli", "models", "pull", "toy", "--card", str(card)]
    process = subprocess.Popen(command, env={**os.environ, "LODE_HOME": str(tmp_path)}, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: shelf(tmp_path).unfinished().get("toy", 0) > 3_000_000)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert shelf(tmp_path).cards() == []
    listed = run_lode(tmp_path, "models", "ls").stderr
    assert "unfinished: toy, 3." in listed
    assert "lode models pull toy goes on" in listed
    hub.fault = ""
    pull(tmp_path, card)
    starts = [int(asked[6:-1]) for method, path, asked in hub.asked if method == "GET" and path == "onnx/model.onnx"]
    assert starts[0] == 0
    assert 3_000_000 < starts[1] <= came
    assert shelf(tmp_path).unfinished() == {}


def test_a_connection_that_breaks_is_made_again(hub: Hub, card: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    hub.fault = "cut"
    pull(tmp_path, card)
    starts = [asked for method, path, asked in hub.asked if method == "GET" and path == "onnx/model.onnx"]
    assert len(starts) > 3
    assert len(set(starts)) == len(starts)
    assert shelf(tmp_path).damage(shelf(tmp_path).card("toy")) == []


def test_a_part_of_other_bytes_is_not_gone_on_with(hub: Hub, card: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / ".lode-toy" / "files" / "onnx"
    folder.mkdir(parents=True)
    (folder / f"model.onnx.{'0' * 16}.part").write_bytes(b"of another time")
    pull(tmp_path, card)
    assert ("GET", "onnx/model.onnx", "bytes=0-") in hub.asked


def wait_for(happened: object) -> None:
    deadline = time.monotonic() + 60
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_digest_that_nobody_published_is_noted_and_held_against_it_from_then_on(
    hub: Hub, card: Path, tmp_path: Path, files: dict[str, bytes]
) -> None:
    unknown = msgspec.json.decode(card.read_bytes(), type=Card)
    bare = write(tmp_path, replace(unknown, files=tuple(File(path=file.path) for file in unknown.files)))
    assert "no digest is known of onnx/model.onnx, LICENSE.md" in pull(tmp_path, bare).stderr
    assert [file.sha256 for file in shelf(tmp_path).card("toy").files] == [
        hashlib.sha256(b).hexdigest() for b in files.values()
    ]
    model = tmp_path / "models" / "toy" / "1" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    said = run_lode(tmp_path, "models", "verify", "toy", status=1)
    assert said.stdout == f"toy: {model} is not what was installed\n"
    assert "lode models rm toy; lode models pull toy" in said.stderr


@pytest.mark.parametrize("below", ["", "toy"])
def test_from_a_folder(card: Path, tmp_path: Path, files: dict[str, bytes], below: str) -> None:
    mirror = tmp_path / "mirror"
    assert "is no folder; --from names one" in pull(tmp_path, card, "--from", str(mirror), status=1).stderr
    mirror.mkdir()
    missing = pull(tmp_path, card, "--from", str(mirror), status=1).stderr
    assert f"{mirror} has no onnx/model.onnx, at its top or below toy/" in missing
    for path, data in files.items():
        (mirror / below / path).parent.mkdir(parents=True, exist_ok=True)
        (mirror / below / path).write_bytes(data)
    assert f"from     {mirror}" in pull(tmp_path, card, "--from", str(mirror)).stderr
    assert [each.name for each in shelf(tmp_path).cards()] == ["toy"]


def test_a_damaged_file_in_a_folder_is_refused(card: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (tmp_path / "mirror" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / path).write_bytes(data.replace(b"like", b"hate"))
    said = pull(tmp_path, card, "--from", str(tmp_path / "mirror"), status=1).stderr
    assert "LICENSE.md of toy" in said
    assert "SHA-256" in said
    assert shelf(tmp_path).cards() == []


def test_from_a_bucket(card: Path, tmp_path: Path, files: dict[str, bytes]) -> None:
    with start_minio(tmp_path / "minio") as server:
        make_bucket(server.url)
        url = f"{server.url}/some/models"
        assert "has no onnx/model.onnx" in pull(tmp_path, card, "--from", url, status=1).stderr
        upload(server.url, {f"some/models/toy/{path}": data for path, data in files.items()})
        said = pull(tmp_path, card, "--from", url)
        assert [each.name for each in shelf(tmp_path).cards()] == ["toy"]
        assert server.url.partition("//")[2].partition("@")[0] not in said.stderr


def upload(url: str, objects: dict[str, bytes]) -> None:
    import asyncio

    from lodestream.objects import open_objects

    async def put() -> None:
        store = open_objects(url)
        for key, data in objects.items():
            await store.put(key, data)

    asyncio.run(put())


def test_a_card_of_ones_own_has_a_name_of_its_own(card: Path, tmp_path: Path) -> None:
    other = run_lode(tmp_path, "models", "pull", "tot", "--card", str(card), status=1).stderr
    assert f"{card} is the card of toy; say: lode models pull toy --card {card}" in other
    mine = msgspec.json.decode(card.read_bytes(), type=Card)
    write(tmp_path, replace(mine, name="dfine-s"))
    taken = run_lode(tmp_path, "models", "pull", "dfine-s", "--card", str(card), status=1).stderr
    assert "dfine-s is a model that Lodestream knows; give yours another name" in taken
    write(tmp_path, replace(mine, repo=""))
    assert "names no repository; --from says where its files are" in pull(tmp_path, card, status=1).stderr
    card.write_text('{"name": "toy"}')
    assert f"{card} is no card of a model: Object missing required field" in pull(tmp_path, card, status=1).stderr
    assert "cannot read" in pull(tmp_path, tmp_path / "none.json", status=1).stderr


def test_a_disk_that_is_too_small_is_told_before(
    hub: Hub, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5 << 20}))
    assert "has 5 MB free, and toy needs 8 MB to be installed" in pull(tmp_path, card, status=1).stderr


def test_a_model_of_another_name_does_not_take_the_folder(hub: Hub, card: Path, tmp_path: Path) -> None:
    pull(tmp_path, card)
    mine = msgspec.json.decode(card.read_bytes(), type=Card)
    write(tmp_path, replace(mine, name="toy2", max_batch=3))
    said = run_lode(tmp_path, "models", "pull", "toy2", "--card", str(card), status=1).stderr
    assert "toy holds another model, and is not replaced" in said
    assert shelf(tmp_path).damage(shelf(tmp_path).card("toy")) == []


def test_a_person_is_asked_and_may_say_no(
    hub: Hub, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lodestream.cli.output.is_terminal", lambda file=None: file is None)
    arguments = ("models", "pull", "toy", "--card", str(card))
    said = run_lode(tmp_path, *arguments, status=1, stdin="n\n").stderr
    assert said.index("licence  Beerware") < said.index("Get toy under these terms?") < said.index("nothing was done")
    assert {method for method, *_ in hub.asked} == {"HEAD"}
    run_lode(tmp_path, *arguments, stdin="y\n")
    assert [each.name for each in shelf(tmp_path).cards()] == ["toy"]
    run_lode(tmp_path, "models", "rm", "toy", "--yes")
    run_lode(tmp_path, *arguments, "--yes")


def test_standins_are_made_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said = run_lode(tmp_path, "models", "pull", *STANDINS)
    assert "made standin-siglip2: standin-siglip2-image, standin-siglip2-text\n" in said.stdout
    listed = json.loads(run_lode(tmp_path, "models", "ls", "--json").stdout)
    assert {each["name"] for each in listed if each["installed"]} == set(STANDINS)
    assert {"siglip2-base-224", "dinov3-vitl16"} < {each["name"] for each in listed}
    assert run_lode(tmp_path, "models", "rm", "standin-dfine").stdout.startswith("standin-dfine is gone; ")
    assert "is not installed" in run_lode(tmp_path, "models", "rm", "standin-dfine", status=1).stderr
    table = run_lode(tmp_path, "models", "ls").stdout.splitlines()
    assert [line.split()[0] for line in table[1:4]] == ["standin-dinov3", "standin-grounding-dino", "standin-siglip2"]
    assert all(" installed " in line for line in table[1:4])
    assert not any(" installed " in line for line in table[4:])


def test_other_places_are_named_by_the_environment(tmp_path: Path) -> None:
    run_lode(tmp_path / "home", "models", "pull", "standin-dfine", LODE_MODELS=str(tmp_path / "elsewhere"))
    assert (tmp_path / "elsewhere" / "standin-dfine" / "config.pbtxt").is_file()
    assert not (tmp_path / "home").exists()


def test_mistakes_are_told_in_a_line(tmp_path: Path) -> None:
    assert "no model 'clip'; there are: dfine-l" in run_lode(tmp_path, "models", "pull", "clip", status=1).stderr
    assert "model dfine-s is not installed" in run_lode(tmp_path, "models", "verify", "dfine-s", status=1).stderr
    assert run_lode(tmp_path, "models", "verify").stderr == "no model is installed\n"
    assert run_lode_anyhow(tmp_path, "models", "pull")[0] == 2
