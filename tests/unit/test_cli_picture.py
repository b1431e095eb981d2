"""`lode show FRAME --png FILE` on a catalog and an object store of its own, while nothing is up."""

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from lodestream.demo.shapes import Film, red_ball
from lodestream.local import Home
from lodestream.objects import open_objects
from lodestream.preview import colours_of
from proto import ids, subjects
from proto.messages import Boxes, Message, Shard, encode
from services.catalog.project import Record
from services.catalog.store import Store
from tests.support.cli import run_lode
from tests.support.frames import jpeg, put_shard
from tests.support.seen import one_video

FILM = Film.of("one", red_ball())
FRAME = "web-1_1000"
BOX = (50.0, 40.0, 110.0, 95.0)


def picture(number: int) -> np.ndarray:
    """A frame for each second."""
    return FILM.picture(number * 25, float(number))


def boxes(of: Shard, looked: list[int], **more: list) -> Boxes:
    """What a detector says of some frames: in the first of them there is a ball."""
    found = [[BOX], *([] for _ in looked[1:])]
    labels = [["red ball" for _ in each] for each in found]
    scores = [[0.914 for _ in each] for each in found]
    about = {"id": of.id, "media_id": of.media_id, "source": of.source, "shard": of, "model": "standin"}
    return Boxes(**about, frames=looked, boxes=found, labels=labels, scores=scores, recipe="eeeeeeee", **more)


def tell(home: Home, *said: tuple[str, str, str, str, Message]) -> None:
    """Put messages into the catalog's file: flow, node type, node, port, message."""
    home.catalog.mkdir(parents=True, exist_ok=True)
    store = Store(home.catalog / "catalog.duckdb")
    for seq, (flow, kind, node, port, message) in enumerate(said, 1):
        stream = subjects.stream(flow)
        if stream not in store.marks:
            store.begin(stream, "2024-01-01")
        subject = subjects.output(flow, kind, node, port, ids.entity(message.id, message.recipe))
        store.apply([Record(stream, seq, 1_700_000_000_000_000 + seq, subject, encode(message))])
    store.close()


def taken(shard: Shard) -> tuple[str, str, str, str, Message]:
    """A shard as a flow gives it."""
    return "cats", "extract", "frames", "shards", shard


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An instance that is down."""
    return Home(tmp_path / "home")


@pytest.fixture
def shard(home: Home) -> Shard:
    """Three frames, stored; the last is broken."""
    home.objects.mkdir(parents=True)
    jpegs = [jpeg(picture(0)), jpeg(picture(1)), b"no JPEG"]
    return asyncio.run(put_shard(open_objects(f"file://{home.objects}"), jpegs, width=320, height=180))


def colours(path: Path) -> set[tuple[int, ...]]:
    """Every colour of a picture."""
    return {tuple(pixel) for pixel in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)}


def test_boxes_are_drawn_with_their_labels(home: Home, shard: Shard, tmp_path: Path) -> None:
    tell(home, taken(shard), ("cats", "detect", "things", "boxes", boxes(shard, [1, 0])))
    target = tmp_path / "frame.png"
    said = run_lode(home.root, "show", FRAME, "--png", str(target))
    assert f"frame {FRAME}" in said.stdout
    assert f"{target}: 1 box by cats/things (standin): red ball 0.91" in said.stderr
    with Image.open(target) as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (320, 180))
    (colour,) = colours_of(["red ball"]).values()
    assert tuple(bytes.fromhex(colour[1:])) in colours(target)
    said = run_lode(home.root, "show", "web-1_0", "--png", str(target))
    assert "0 boxes by cats/things (standin)" in said.stderr
    assert tuple(bytes.fromhex(colour[1:])) not in colours(target), "the new picture took the place of the old"


def test_a_frame_that_nobody_looked_at_is_drawn_as_it_is(home: Home, shard: Shard, tmp_path: Path) -> None:
    tell(home, taken(shard), ("cats", "detect", "things", "boxes", boxes(shard, [0])))
    said = run_lode(home.root, "show", FRAME, "--png", str(tmp_path / "frame.png"))
    assert "the frame as it is; no node looked for boxes in it" in said.stderr
    with Image.open(tmp_path / "frame.png") as drawn:
        assert np.abs(np.asarray(drawn).astype(int) - picture(1)).mean() < 3


def test_where_several_looked_one_is_chosen(home: Home, shard: Shard, tmp_path: Path) -> None:
    tell(
        home,
        taken(shard),
        ("cats", "detect", "things", "boxes", boxes(shard, [1])),
        ("cats", "detect", "hands", "boxes", boxes(shard, [0, 1])),
        ("dogs", "detect", "things", "boxes", boxes(shard, [1])),
    )
    show = ("show", FRAME, "--png", str(tmp_path / "frame.png"))
    said = run_lode(home.root, *show, status=1).stderr
    assert f"cats/hands, cats/things, dogs/things looked for boxes in {FRAME}; choose one with --flow" in said
    assert "cats/hands, cats/things looked" in run_lode(home.root, *show, "--flow", "cats", status=1).stderr
    assert "0 boxes by cats/hands" in run_lode(home.root, *show, "--node", "hands").stderr
    assert "1 box by dogs/things" in run_lode(home.root, *show, "--flow", "dogs", "--node", "things").stderr
    said = run_lode(home.root, *show, "--node", "ears", status=1).stderr
    assert f"node ears did not look for boxes in {FRAME}; cats/hands, cats/things, dogs/things did" in said


def test_what_cannot_be_drawn(home: Home, shard: Shard, tmp_path: Path) -> None:
    lost = msgspec.structs.replace(shard, id="web-2_s0000", media_id="web-2", object_key="frames/0badcafe/web-2/x.tar")
    tell(home, taken(shard), taken(lost))
    target = str(tmp_path / "frame.png")
    assert "broken JPEG" in run_lode(home.root, "show", "web-1_2000", "--png", target, status=1).stderr
    said = run_lode(home.root, "show", "web-2_1000", "--png", target, status=1).stderr
    assert "the shard of web-2_1000 is gone: frames/0badcafe/web-2/x.tar" in said
    assert "is none: a frame's id is" in run_lode(home.root, "show", shard.id, "--png", target, status=1).stderr
    assert "cannot write" in run_lode(home.root, "show", FRAME, "--png", f"{tmp_path}/no/x.png", status=1).stderr
    assert "nothing is known by the id" in run_lode(home.root, "show", "web-1_7", "--png", target, status=1).stderr
    assert "in flow dogs" in run_lode(home.root, "show", FRAME, "--png", target, "--flow", "dogs", status=1).stderr
    assert "give --png as well" in run_lode(home.root, "show", FRAME, "--flow", "cats", status=2).stderr
    assert not (tmp_path / "frame.png").exists()


def test_a_frame_shows_what_was_said_of_it(home: Home) -> None:
    tell(home, *(("demo", *output) for output in one_video()))
    first = run_lode(home.root, "show", "v1_0").stdout
    assert "kept v1_0  good, message 2 of FLOW_demo" in first
    assert "a red ball: 0.90" in first
    assert "new v1_0  new, message 3 of FLOW_demo" in first
    assert "looked at v1_0  things" in first
    assert "ball 0.90, hand 0.40" in first
    assert "by standin-dfine" in first
    repeat = run_lode(home.root, "show", "v1_1000").stdout
    assert "repeat v1_1000" in repeat
    assert "of v1_0, 0.970 by vectors" in repeat
    dropped = run_lode(home.root, "show", "v1_4000").stdout
    assert "dropped v1_4000" in dropped
    assert "below threshold" in dropped
    assert "blurred" in run_lode(home.root, "show", "v1_5000").stdout
    assert "no box" in run_lode(home.root, "show", "v1_3000").stdout


def test_a_shard_shows_what_was_made_of_it(home: Home) -> None:
    tell(home, *(("demo", *output) for output in one_video()))
    said = run_lode(home.root, "show", "v1_s0000").stdout
    assert "4 of 6 frames" in said
    assert "dropped: 1 below threshold, 1 blurred" in said
    assert "frames new, 1 known" in said
    assert "3 boxes in 2 of 3 frames, by standin-dfine" in said
