"""The filter on a real Triton server, with the stand-in for SigLIP 2, on pictures whose things are known."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lodestream.demo.shapes import Scene, Thing
from lodestream.errors import Malformed, Missing, Outage
from lodestream.inference import EMBED
from lodestream.job import Parts
from lodestream.memo import Memo
from lodestream.models import standins
from proto import ids, keys, subjects
from proto.messages import Kept, Shard, Unique
from services.filter.node import MAKER, NODE
from tests.support.filtering import Filtering, filtering, install_blind, reasons
from tests.support.frames import jpeg, parts, put_shard
from tests.support.triton import TritonServer

MODEL = "standin-siglip2"
IMAGE, TEXT = f"{MODEL}-image", f"{MODEL}-text"
RED, BLUE = "a red ball", "a blue square"
WIDTH, HEIGHT = 320, 180
RED_BALL = Scene("grey", (Thing("red", "ball"),))
BLUE_SQUARE = Scene("grey", (Thing("blue", "square"),))
BLURRED = replace(RED_BALL, blur=12, noise=0)
DARK = Scene("black", noise=0)


def shot(scene: Scene, number: int = 0) -> bytes:
    return jpeg(scene.picture(number, number / 2, WIDTH, HEIGHT))


async def put(on: Parts, scenes: Sequence[Scene | bytes], index: int = 0, media: str = "web-1") -> Shard:
    frames = [scene if isinstance(scene, bytes) else shot(scene, n) for n, scene in enumerate(scenes)]
    return await put_shard(on.objects, frames, width=WIDTH, height=HEIGHT, index=index, media=media)


@pytest.fixture
async def at(triton: TritonServer, tmp_path: Path) -> AsyncIterator[Filtering]:
    """The node with the stand-in to ask."""
    if not (triton.models / IMAGE).exists():
        standins.install(MODEL, triton.models)
    on = replace(parts(tmp_path), triton=triton.address, models=triton.models)
    async with filtering(on, model=MODEL) as made:
        yield made


async def test_frames_that_fit_a_prompt_are_kept_and_the_others_say_why_not(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, BLUE_SQUARE, RED_BALL, DARK])
    made = await at(shard, keep=[RED])
    assert made.kept == [0, 2]
    assert set(reasons(made)) == {1, 3}
    assert made.detail[1].startswith("no prompt over 0.5: best 'a red ball' ")
    assert all(score > 0.5 for i in (0, 2) if (score := made.scores[RED][i]))
    assert (made.id, made.media_id, made.source, made.shard, made.model) == (
        shard.id,
        "web-1",
        "example.org",
        shard,
        MODEL,
    )
    lists = [*made.measures.values(), *made.scores.values(), made.reason, made.detail]
    assert {len(numbers) for numbers in lists} == {4}


async def test_either_prompt_is_enough_and_a_prompt_to_drop_wins_where_it_fits_better(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, BLUE_SQUARE])
    assert (await at(shard, keep=[RED, BLUE])).kept == [0, 1]
    made = await at(shard, keep=["a ball", "a square"], drop=[BLUE], threshold=0.01)
    assert (made.kept, made.drop) == ([0], [BLUE])
    assert made.detail[1].startswith("closer to 'a blue square' (")
    made = await at(shard, drop=[BLUE])
    assert reasons(made) == {1: made.detail[1]}
    assert made.detail[1].startswith("like 'a blue square' (")


async def test_the_probability_is_the_sigmoid_of_the_scaled_cosine(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, BLUE_SQUARE])
    cool, warm = [(await at(shard, keep=[RED], temperature=t)).scores[RED] for t in (10, 20)]
    bias = standins.STANDINS[MODEL].logit_bias
    cosine = [(np.log(p / (1 - p)) - bias) / 10 for p in cool]
    assert warm == pytest.approx([1 / (1 + np.exp(-(20 * c + bias))) for c in cosine], rel=0.02)
    assert cosine[0] > cosine[1] + 0.3


async def test_a_prompt_in_capitals_is_the_same_and_a_long_one_is_cut(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, BLUE_SQUARE])
    plain, loud, long = RED, RED.upper(), RED + " on the" * 40
    made = await at(shard, keep=[plain, loud, long])
    assert made.scores[plain] == made.scores[loud]
    assert made.kept == [0]


async def test_only_frames_that_pass_the_measures_are_shown_to_the_model(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, BLURRED, DARK, RED_BALL])
    made = await at(shard, keep=[RED], min_sharpness=20)
    assert made.kept == [0, 3]
    assert made.reason[1:3] == ["sharpness under 20"] * 2
    assert at.asked.rows == {TEXT: 1, IMAGE: 2}
    assert made.scores[RED][1:3] == [None, None]
    assert None not in made.measures["sharpness"]


async def test_two_flows_with_other_prompts_share_measures_and_vectors(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, BLUE_SQUARE, RED_BALL])
    one = await at(shard, keep=[RED])
    async with filtering(at.parts, model=MODEL) as elsewhere:
        two = await elsewhere(shard, keep=[BLUE, RED], threshold=0.9)
        again = await elsewhere(shard, keep=[RED])
    assert (one.kept, two.scores[RED], again) == ([0, 2], one.scores[RED], one)
    assert at.parts.objects.read["frames"] == 1, "of the tar"
    assert at.asked.rows == {TEXT: 1, IMAGE: 3}
    assert elsewhere.asked.rows == {TEXT: 1}, "the prompt that nobody had asked for"


async def test_a_laxer_measure_embeds_the_frames_that_it_lets_through_and_no_more(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, BLURRED, BLUE_SQUARE])
    await at(shard, keep=[RED], min_sharpness=20)
    made = await at(shard, keep=[RED])
    assert at.asked.rows == {TEXT: 1, IMAGE: 3}
    assert 0 in made.kept
    assert None not in made.scores[RED]


async def test_what_is_known_needs_no_model_while_triton_hangs_on_something_else(
    at: Filtering, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = await put(at.parts, [RED_BALL, BLUE_SQUARE])
    await at(shard, keep=[RED, "a ball"])
    asked = asyncio.Event()

    async def hangs(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(at.asked, "infer", hangs)
    stuck = asyncio.create_task(at(shard, keep=[BLUE]))
    await asked.wait()
    assert (await at(shard, keep=["a ball"])).kept == [0]
    stuck.cancel()


async def test_a_broken_jpeg_in_a_batch_drops_that_frame_only(at: Filtering) -> None:
    whole = shot(RED_BALL)
    shard = await put(at.parts, [RED_BALL, whole[: len(whole) // 2], b"", RED_BALL])
    made = await at(shard, keep=[RED])
    assert (made.kept, reasons(made)) == ([0, 3], {1: "broken JPEG", 2: "broken JPEG"})
    assert (made.measures["sharpness"][1], made.scores[RED][1]) == (None, None)


async def test_what_the_model_gives_no_number_for_is_dropped_alone(at: Filtering) -> None:
    assert at.parts.models
    install_blind(at.parts.models, "numb")
    shard = await put(at.parts, [RED_BALL, DARK, BLUE_SQUARE])
    made = await at(shard, keep=[RED], threshold=0, model="numb")
    assert (made.kept, reasons(made)) == ([0, 2], {1: "the model gave no number"})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("narrow", r"narrow-image gives embedding FP32 \(n, 5\), its card says FP32 \(n, 768\)"),
        ("nowhere", "pull nowhere"),
    ],
)
async def test_a_model_that_is_not_as_it_should_be_is_an_outage(model: str, said: str, at: Filtering) -> None:
    if model == "narrow":
        install_blind(at.parts.models, model, dim=5)  # type: ignore[arg-type]
    with pytest.raises(Outage, match=said):
        await at(await put(at.parts, [RED_BALL]), keep=[RED], model=model)


async def test_without_prompts_no_triton_and_no_model_is_needed(tmp_path: Path) -> None:
    async with filtering(parts(tmp_path)) as at:
        made = await at(await put(at.parts, [RED_BALL, BLURRED]), min_sharpness=20)
        assert (made.kept, made.model, made.scores) == ([0], "", {})
        with pytest.raises(Outage, match="LODE_MODELS names none"):
            await at(await put(at.parts, [RED_BALL]), keep=[RED])


async def test_where_nothing_is_left_that_goes_out_by_another_port_with_a_no(at: Filtering) -> None:
    shard = await put(at.parts, [BLURRED, BLUE_SQUARE, BLUE_SQUARE, b""])
    made = await at(shard, keep=[RED], min_sharpness=20)
    assert (made.kept, len(reasons(made))) == ([], 4)
    assert at.no
    assert (at.no.reason, at.no.lasting) == ("empty after filter", True)
    assert at.no.detail == "2 no prompt over 0.5; 1 sharpness under 20; 1 broken JPEG"
    assert subjects.EMPTY in NODE.gives


async def test_frames_of_the_wrong_size_are_dropped_unseen(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, RED_BALL])
    await at.parts.objects.delete(shard.object_key)
    made = await at(shard, keep=[RED], min_width=640)
    assert reasons(made) == dict.fromkeys(range(2), "width 320 under 640")
    assert made.measures["sharpness"] == [None, None]
    with pytest.raises(Missing, match=shard.object_key):
        await at(shard, keep=[RED])


async def test_of_what_was_chosen_before_only_that_is_judged(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, RED_BALL, BLUE_SQUARE, RED_BALL])
    before = Unique(id=shard.id, media_id="web-1", source="x", shard=shard, unique=[1, 2])
    made = await at(before, keep=[RED])
    assert (made.kept, list(reasons(made))) == ([1], [2])
    assert made.measures["solid"][::3] == [None, None]
    assert at.asked.rows[IMAGE] == 2
    after = await at(msgspec.structs.replace(made, kept=[1]), keep=[BLUE])
    assert (after.kept, list(reasons(after))) == ([], [1])
    assert isinstance(after, Kept)


async def test_a_message_about_frames_that_are_not_there_is_malformed(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL])
    strange = Kept(id=shard.id, media_id="web-1", source="x", shard=shard, kept=[0, 1], reason=["", ""])
    for given in ({"min_width": 4000}, {"keep": [RED]}):
        with pytest.raises(Malformed, match="frame 1 of a shard of 1"):
            await at(strange, **given)  # type: ignore[arg-type]


async def video(on: Parts, name: str) -> list[Shard]:
    """A video in three shards, with the manifest that its maker leaves."""
    scenes = [[RED_BALL, BLUE_SQUARE], [DARK, RED_BALL, RED_BALL], [BLUE_SQUARE]]
    shards = [await put(on, some, index, name) for index, some in enumerate(scenes)]
    await Memo(on.objects, MAKER, shards[0].recipe).keep(name, 1.0, [("shards", shard) for shard in shards], [], None)
    return shards


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_the_best_of_a_video_are_the_same_in_whatever_order_its_shards_come(
    order: tuple[int, ...], at: Filtering
) -> None:
    shards = await video(at.parts, "web-2")
    every = {i: (await at(shards[i], keep=[RED], threshold=0.5)).scores[RED] for i in range(3)}
    wanted = sorted(((-(p or 0), i, j) for i, row in every.items() for j, p in enumerate(row) if (p or 0) >= 0.5))[:2]
    async with filtering(at.parts, model=MODEL) as fresh:
        made = {i: await fresh(shards[i], keep=[RED], top_k=2) for i in order}
    assert sorted((i, j) for i, each in made.items() for j in each.kept) == sorted((i, j) for _, i, j in wanted)
    said = {reason for each in made.values() for reason in each.reason if "best 2" in reason}
    assert said == {"not among the best 2 of its video"}
    assert fresh.asked.rows == {}, "every shard was known"


async def test_where_nothing_says_what_a_video_has_the_best_are_those_of_the_shard(at: Filtering) -> None:
    shard = await put(at.parts, [RED_BALL, RED_BALL, RED_BALL], media="web-3")
    made = await at(shard, keep=[RED], top_k=1)
    assert len(made.kept) == 1
    assert set(reasons(made).values()) == {"not among the best 1 of its shard"}
    with pytest.raises(Malformed, match="takes what extract gives"):
        await at(made, keep=[RED], top_k=1)


async def test_a_kill_between_vectors_and_manifest_costs_one_redo(
    at: Filtering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store dies after the vectors of pictures were put, before anything names them."""
    shard = await put(at.parts, [RED_BALL, BLUE_SQUARE])
    store = at.parts.objects
    put_before = store.put

    async def dying(key: str, data: bytes) -> str:
        if key.startswith(keys.memos(EMBED) + IMAGE[:-6]) and ids.shard_id("web-1", 0) in key:
            raise Outage("killed")
        return await put_before(key, data)

    monkeypatch.setattr(store, "put", dying)
    with pytest.raises(Outage, match="killed"):
        await at(shard, keep=[RED])
    monkeypatch.undo()
    async with filtering(at.parts, model=MODEL) as after:
        assert (await after(shard, keep=[RED])).kept == [0]
        assert after.asked.rows == {IMAGE: 2}
        assert (await after(shard, keep=[RED])).kept == [0]
        assert after.asked.rows == {IMAGE: 2}
    assert len([stat async for stat in store.list(keys.VECTORS) if "web-1" in stat.key]) == 2, "measures and vectors"
