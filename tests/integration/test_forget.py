"""What is forgotten is gone everywhere, does not come back, and nothing else is touched."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lodestream.errors import LodeError
from lodestream.forget import purge, tombs, work
from lodestream.forget.plan import plan
from lodestream.forget.tombs import Forgotten
from proto import keys
from proto.messages import Rejected
from tests.support.forgetting import RECIPE, World, candidate, world
from tests.support.servers import start_nats

ONE, TWO, THREE = "web-1111", "web-2222", "web-3333"
SAME, OTHER = "5a" * 32, "07" * 32


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[World]:
    """Two flows over the same seed; two videos with the same bytes, and one that has nothing to do with them."""
    with start_nats(tmp_path) as server:
        async with world(server.url, tmp_path) as made:
            for flow in ("cats", "dogs"):
                await made.flow(flow)
                await made.seed(flow, "query-cats", "cats")
                await made.video(flow, ONE, "query-cats", SAME)
                await made.duplicate(flow, TWO, "query-cats", ONE)
                await made.video(flow, THREE, "query-cats", OTHER)
            await made.remember("query-cats", *(candidate(ident, "query-cats") for ident in (ONE, TWO, THREE)))
            await made.dead("cats", TWO, "flow.cats.discover.discover.candidates." + TWO)
            yield made


async def test_a_plan_changes_nothing(made: World) -> None:
    before = await made.messages(), await made.stored()
    found = await plan(made.bus, made.objects, ONE)
    assert {stream: sum(kinds.values()) for stream, kinds in found.found.kinds.items()} == {
        "FLOW_cats": 5,
        "FLOW_dogs": 5,
        "DEAD": 1,
    }
    assert found.manifests == [keys.memo("discover", RECIPE, "query-cats")]
    assert (await made.messages(), await made.stored()) == before
    assert [stone async for stone in tombs.standing(made.objects)] == []


async def test_what_filters_and_detectors_said_of_its_frames_goes(made: World) -> None:
    for ident in (ONE, THREE):
        await made.looked_at("cats", ident)
    await made.forget(ONE)
    assert await made.traces(ONE, TWO, SAME) == []
    left = [where for where in await made.messages() if ".filter." in where or ".dedup." in where]
    assert len(left) == 2
    assert all(THREE in where for where in left)


async def test_frames_go_out_of_the_ledgers_of_every_project(made: World) -> None:
    for flow in ("cats", "dogs"):
        await made.judged(flow, ONE, THREE)
    found = await plan(made.bus, made.objects, ONE)
    assert sum(map(keys.is_ledger, found.manifests)) == 2
    await made.forget(ONE)
    assert await made.traces(ONE, TWO, SAME) == []
    ledgers = [data for key, data in (await made.stored()).items() if keys.is_ledger(key)]
    assert len(ledgers) == 2
    assert all(b"\1" * 64 not in data and b"\2" * 64 in data and THREE.encode() in data for data in ledgers)


@pytest.mark.parametrize("what", [ONE, TWO, f"https://example.org/{ONE}#t=4"])
async def test_a_video_goes_with_all_that_has_its_bytes_and_no_more(made: World, what: str) -> None:
    await made.forget(what)
    assert await made.traces(ONE, TWO, SAME) == []
    left = await made.messages()
    for flow in ("cats", "dogs"):
        assert sum(THREE in where and f"FLOW_{flow} " in where for where in left) == 3
    assert sum(THREE in key for key in await made.stored()) == 4
    assert [stone.ident async for stone in tombs.standing(made.objects)] == [TWO if what == TWO else ONE]


async def test_what_other_seeds_remember_is_kept_but_for_what_is_forgotten(made: World) -> None:
    await made.forget(ONE)
    remembered = (await made.stored())[keys.memo("discover", RECIPE, "query-cats")]
    assert THREE.encode() in remembered
    assert ONE.encode() not in remembered


async def test_a_tombstone_works_by_id_by_bytes_and_by_source(made: World) -> None:
    await made.forget(ONE)
    known = Forgotten()
    await known.read(made.objects)
    assert all(known.blocks(candidate(ident, "s")) for ident in (ONE, TWO))
    assert not known.blocks(candidate(THREE, "s"))
    assert known.holds(SAME)
    assert not known.holds(OTHER)
    await made.forget("example.org")
    await known.read(made.objects)
    assert known.blocks(candidate("web-9", "s"))
    assert not known.blocks(candidate("web-9", "s", "example.com"))


@pytest.mark.parametrize("after", [0, 1, 3, 7, 12])
async def test_what_was_cut_short_is_finished_by_doing_it_again(
    made: World, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    class Killed(BaseException):
        """Stands for the end of the process."""

    left = [after]

    def countdown(*_: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    delete, js = made.objects.delete, type(made.bus.nc.jetstream())
    erase = js.delete_msg

    async def counted_delete(key: str) -> None:
        countdown()
        await delete(key)

    async def counted_erase(self: object, stream: str, seq: int) -> bool:
        countdown()
        return bool(await erase(self, stream, seq))

    with monkeypatch.context() as broken:
        broken.setattr(made.objects, "delete", counted_delete)
        broken.setattr(js, "delete_msg", counted_erase)
        with pytest.raises(Killed):
            await made.forget(TWO)
    assert await made.traces(ONE, TWO)
    known = Forgotten()
    await known.read(made.objects)
    assert known.blocks(candidate(ONE, "s"))
    finished = await made.forget(TWO)
    assert finished.begun
    assert await made.traces(ONE, TWO, SAME) == []


async def test_housekeeping_finishes_what_was_cut_short(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stone = (await plan(made.bus, made.objects, ONE)).stone
    await tombs.write(made.objects, made.bus, stone)
    assert await work.sweep(made.bus, made.objects) == []
    monkeypatch.setattr(work, "UNFINISHED", 0.0)
    assert await work.sweep(made.bus, made.objects) == [f"forgot what was left of video {ONE}"]
    assert await made.traces(ONE, TWO, SAME) == []


async def test_what_a_worker_gave_late_is_swept(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await made.forget(ONE)
    await made.video("cats", ONE, "query-cats", SAME)
    monkeypatch.setattr(work, "SWEEPS", (0.0, 3600.0))
    assert await work.sweep(made.bus, made.objects) == [f"forgot what had come late of video {ONE}"]
    assert await made.traces(ONE, SAME) == []
    assert await work.sweep(made.bus, made.objects) == []


async def test_a_seed_takes_what_only_it_led_to(made: World) -> None:
    await made.seed("cats", "query-more", "more")
    await made.video("cats", "web-4444", "query-more", "44" * 32)
    await made.remember("query-more", candidate(THREE, "query-more"), candidate("web-4444", "query-more"))
    done = await made.forget("query-cats")
    assert done.stone.kept == [THREE]
    assert await made.traces(ONE, TWO, SAME) == []
    left = [where for where in await made.messages() if "FLOW_" in where]
    assert sum(THREE in where for where in left) == 6
    assert sum("web-4444" in where for where in left) == 3
    assert not [where for where in left if "query-cats" in where]
    assert b"cats" not in (await made.messages()).values()
    known = Forgotten()
    await known.read(made.objects)
    assert known.names("query-cats")


async def test_bytes_that_another_seed_led_to_stay_with_it(made: World) -> None:
    await made.seed("cats", "query-more", "more")
    await made.duplicate("cats", "web-5555", "query-more", ONE)
    done = await made.forget("query-cats")
    assert done.stone.kept == [ONE, TWO]
    assert sum(ONE in where for where in await made.messages()) == 6
    assert await made.traces(THREE) == []


async def test_the_address_that_somebody_published_goes_with_its_video(made: World) -> None:
    await made.seed("cats", "url-four", "https://Example.org/web-4444?utm_source=x", "url")
    await made.video("cats", "web-4444", "url-four", "44" * 32)
    await made.bus.nc.jetstream().publish("seeds.cats", b"https://example.org/web-4444\nhttps://example.org/else")
    done = await made.forget("web-4444")
    assert done.stone.seeds == ["url-four"]
    assert await made.traces("url-four") == []
    assert len(done.found.mixed) == 1
    assert [w for w in await made.traces("web-4444") if f"SEEDS {done.found.mixed[0]} " not in w] == []


async def test_a_source_goes_whole(made: World) -> None:
    await made.video("dogs", "web-6666", "query-cats", "66" * 32, source="else.net")
    await made.forget("example.org")
    assert await made.traces(ONE, TWO, THREE, "example.org") == []
    assert sum("web-6666" in where for where in await made.messages()) == 3


async def test_an_undone_tombstone_leaves_nothing_in_the_way(made: World) -> None:
    done = await made.forget(ONE)
    no = Rejected(id=ONE, reason="forgotten", source="example.org", recipe=RECIPE)
    await made.say("cats", "fetch", "rejected", no, "")
    copy = "web-copy"
    found = await made.candidate("cats", copy, "query-cats")
    await made.say("cats", "fetch", "rejected", Rejected(id=copy, reason="forgotten", recipe=RECIPE), found)
    await work.lift(made.bus, made.objects, done.stone)
    assert not [where for where in await made.messages() if ONE in where or copy in where]
    assert [stone async for stone in tombs.standing(made.objects)] == []
    await made.video("cats", ONE, "query-cats", SAME)


async def test_an_undone_tombstone_leaves_what_another_refused(made: World) -> None:
    done = await made.forget(ONE)
    await made.forget(THREE)
    no = Rejected(id=THREE, reason="forgotten", source="example.org", recipe=RECIPE)
    await made.say("cats", "fetch", "rejected", no, "")
    await work.lift(made.bus, made.objects, done.stone)
    assert [where for where in await made.messages() if THREE in where]


async def test_what_may_be_mined_again_leaves_no_tombstone(made: World) -> None:
    await made.forget(ONE, again=True)
    assert [stone async for stone in tombs.standing(made.objects)] == []
    assert await made.traces(ONE, TWO) == []


async def test_what_nobody_knows_is_refused_in_words(made: World) -> None:
    with pytest.raises(LodeError, match="nothing is known of 'web-0000'"):
        await plan(made.bus, made.objects, "web-0000")


async def test_many_messages_take_several_notices(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "CHUNK", 2)
    await made.forget(ONE)
    assert await made.traces(ONE, TWO) == []
    info = await made.bus.nc.jetstream().stream_info("FLOW_cats", subjects_filter="flow.cats.operator.>")
    assert len(info.state.subjects or {}) == 3
