"""The node on a real Triton server, with stand-ins for Grounding DINO and D-FINE, and frames of real video."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lodestream.demo.shapes import Film, Scene, Thing, blue_square, red_ball
from lodestream.errors import Malformed, Missing, Outage
from proto.messages import Kept, Unique
from services.detect.node import NODE
from tests.support.detecting import REVISION, Bench, add_blind, agrees, frames, install, store, stored
from tests.support.triton import TritonServer

OPEN, CLOSED = "standin-grounding-dino", "standin-dfine"
CLASSES = {"red ball": "sports ball", "blue square": "tv"}
TWO = Film.of("two", red_ball(seconds=2), blue_square(seconds=2))
BOTH = Film.of(
    "both",
    Scene("grey", (Thing("red", "ball", at=(0, 0.1), speed=(0, 0.2)), Thing("blue", "square", at=(0.9, 0.6)))),
    width=640,
    height=360,
)


@pytest.fixture
async def bench(triton: TritonServer, tmp_path: Path) -> AsyncIterator[Bench]:
    """The node with both stand-ins to ask; the open one where nothing is said."""
    for name in (OPEN, CLOSED):
        install(triton, name)
    parts = store(tmp_path, triton)
    assert NODE.open
    async with NODE.open(parts) as state:
        yield Bench(parts, state, {"labels": ["red ball", "blue square"], "model": OPEN})


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where films are extracted, once."""
    return tmp_path_factory.mktemp("films")


def truth(film: Film, folder: Path) -> list:
    """What is in each frame."""
    return [film.truth(time / 1000) for time in frames(film, folder)[0]]


async def test_an_open_detector_finds_what_it_is_asked_for(bench: Bench, films: Path) -> None:
    shard = await stored(bench.parts, TWO, films)
    said = await bench.detect(shard)
    assert said.frames == list(range(8))
    agrees(said, truth(TWO, films))
    assert (said.id, said.media_id, said.source, said.shard) == (shard.id, "web-1", "example.org", shard)
    assert (said.model, said.broken, len(said.version)) == (OPEN, [], 16)


async def test_a_frame_without_what_is_asked_for_has_no_box_and_is_in_the_answer(bench: Bench, films: Path) -> None:
    said = await bench.detect(await stored(bench.parts, TWO, films), labels=["a blue square"])
    assert said.frames == list(range(8))
    assert said.labels == [[]] * 4 + [["a blue square"]] * 4


async def test_words_of_one_label_belong_together(bench: Bench, films: Path) -> None:
    said = await bench.detect(await stored(bench.parts, BOTH, films), labels=["blue ball", "red square"])
    assert said.labels == [[]] * 8
    said = await bench.detect(await stored(bench.parts, BOTH, films), labels=["ball", "blue thing", "blue square"])
    assert [sorted(labels) for labels in said.labels] == [["ball", "blue square"]] * 8


async def test_a_closed_detector_is_asked_for_its_classes(bench: Bench, films: Path) -> None:
    shard = await stored(bench.parts, BOTH, films)
    said = await bench.detect(shard, model=CLOSED, labels=["tv", "sports ball", "person"])
    agrees(said, truth(BOTH, films), CLASSES)
    only = await bench.detect(shard, model=CLOSED, labels=["tv"])
    assert only.labels == [["tv"]] * 8


async def test_boxes_are_in_pixels_of_the_stored_frame(bench: Bench, films: Path) -> None:
    said = await bench.detect(await stored(bench.parts, BOTH, films))
    agrees(said, truth(BOTH, films))
    assert max(box[2] for boxes in said.boxes for box in boxes) > 600


async def test_only_frames_that_were_kept_are_looked_at(bench: Bench, films: Path) -> None:
    shard = await stored(bench.parts, TWO, films)
    about = {"id": shard.id, "media_id": shard.media_id, "source": shard.source, "shard": shard}
    for message in (Kept(**about, kept=[1, 6], reason=[""] * 8), Unique(**about, unique=[1, 6])):
        said = await bench.detect(message)
        assert (said.frames, said.labels) == ([1, 6], [["red ball"], ["blue square"]])
    bench.parts.objects.read.clear()
    none = await bench.detect(Unique(**about, unique=[]))
    assert (none.frames, none.boxes, none.broken) == ([], [], [])
    assert not bench.parts.objects.read, "nothing is read where nothing is asked"


async def test_thresholds_and_the_cap(bench: Bench, films: Path) -> None:
    shard = await stored(bench.parts, BOTH, films)
    all_scores = (await bench.detect(shard)).scores
    assert (await bench.detect(shard, max_boxes=1)).scores == [scores[:1] for scores in all_scores]
    assert (await bench.detect(shard, threshold=1.0)).labels == [[]] * 8
    said = await bench.detect(shard, thresholds={"red ball": 1.0})
    assert said.labels == [["blue square"]] * 8


async def test_a_broken_jpeg_costs_only_its_frame(bench: Bench, films: Path) -> None:
    whole = await bench.detect(await stored(bench.parts, TWO, films))
    said = await bench.detect(await stored(bench.parts, TWO, films, broken=[0, 5], media="web-2"))
    assert (said.broken, said.frames) == ([0, 5], [1, 2, 3, 4, 6, 7])
    assert said.boxes == [boxes for index, boxes in enumerate(whole.boxes) if index in said.frames]
    nothing = await bench.detect(await stored(bench.parts, TWO, films, broken=range(8), media="web-3"))
    assert (nothing.broken, nothing.frames) == (list(range(8)), [])


async def test_scores_that_are_no_numbers_cost_only_their_frame(
    bench: Bench, films: Path, triton: TritonServer
) -> None:
    add_blind(triton.models, "blind")
    film = Film.of("dusk", red_ball(seconds=2), red_ball(seconds=2, light=0.1))
    said = await bench.detect(await stored(bench.parts, film, films), model="blind", labels=["thing"], nms=0.5)
    assert (said.frames, said.broken) == ([0, 1, 2, 3], [4, 5, 6, 7])
    assert said.boxes == [[(0.0, 0.0, 320.0, 180.0)]] * 4
    assert (said.model, said.version) == ("blind", REVISION)
    assert [len(boxes) for boxes in (await bench.detect(said.shard, model="blind", labels=["thing"])).boxes] == [2] * 4


async def test_an_answer_of_another_shape_is_an_outage_in_words(
    bench: Bench, films: Path, triton: TritonServer
) -> None:
    add_blind(triton.models, "wide", columns=3)
    with pytest.raises(Outage, match=r"model wide gives logits FP32 \(n, 2, 3\), its card says FP32 \(n, 2, 1\)"):
        await bench.detect(await stored(bench.parts, TWO, films), model="wide", labels=["thing"])


async def test_a_model_is_waited_for_until_it_is_installed(bench: Bench, films: Path, triton: TritonServer) -> None:
    shard = await stored(bench.parts, TWO, films)
    for _ in range(2):
        with pytest.raises(Outage, match="late is not installed; get it with: lode models pull late"):
            await bench.detect(shard, model="late", labels=["thing"])
    add_blind(triton.models, "late")
    assert (await bench.detect(shard, model="late", labels=["thing"])).labels == [["thing", "thing"]] * 8
    shutil.rmtree(triton.models / "late")
    with pytest.raises(Outage, match="late is not installed"):
        await bench.detect(shard, model="late", labels=["thing"])


async def test_where_there_is_no_triton_it_is_waited_for(bench: Bench, films: Path) -> None:
    shard = await stored(bench.parts, TWO, films)
    assert NODE.open
    async with NODE.open(replace(bench.parts, triton="")) as state:
        with pytest.raises(Outage, match="Triton"):
            await replace(bench, state=state).detect(shard)
    async with NODE.open(replace(bench.parts, models=None)) as state:
        with pytest.raises(Outage, match="LODE_MODELS"):
            await replace(bench, state=state).detect(shard)


async def test_messages_that_do_not_fit_are_refused(bench: Bench, films: Path) -> None:
    shard = await stored(bench.parts, TWO, films)
    about = {"id": shard.id, "media_id": shard.media_id, "source": shard.source, "shard": shard}
    with pytest.raises(Malformed, match="frame 8 of a shard of 8"):
        await bench.detect(Unique(**about, unique=[3, 8]))
    with pytest.raises(Missing):
        await bench.detect(msgspec.structs.replace(shard, object_key=shard.object_key.replace("web-1", "web-9")))


async def test_more_boxes_than_a_message_holds_are_refused_in_words(
    bench: Bench, films: Path, triton: TritonServer
) -> None:
    add_blind(triton.models, "crowd", queries=300)
    film = Film.of("long", red_ball(seconds=2), width=64, height=48)
    shard = await stored(bench.parts, film, films)
    many = {name: list(getattr(shard, name)) * 64 for name in ("time_ms", "offset", "length")}
    shard = msgspec.structs.replace(shard, **many)
    said = await bench.detect(shard, model="crowd", labels=["thing"], max_boxes=100)
    assert [len(boxes) for boxes in said.boxes] == [100] * 256
    own = msgspec.json.decode((triton.models / "crowd" / "card.json").read_bytes())
    (triton.models / "crowd" / "card.json").write_bytes(msgspec.json.encode({**own, "labels": ["thing" * 20]}))
    with pytest.raises(Malformed, match=r"too many boxes: 76800 boxes are \d+ MiB; raise"):
        await bench.detect(shard, model="crowd", labels=["thing" * 20], max_boxes=300)


async def test_shards_at_once_get_each_its_own(bench: Bench, films: Path) -> None:
    films_of = [(TWO, "web-1"), (BOTH, "web-2"), (TWO, "web-3"), (BOTH, "web-4")]
    shards = [await stored(bench.parts, film, films, media=media) for film, media in films_of]
    said = await asyncio.gather(*(bench.detect(shard) for shard in shards))
    for (film, media), each in zip(films_of, said, strict=True):
        assert each.media_id == media
        agrees(each, truth(film, films))
