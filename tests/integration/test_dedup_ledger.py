"""The ledger of a project: verdicts stand, an overtaken owner hands back, a restart knows all, forgetting frees."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from lodestream.bus import connect
from lodestream.errors import Outage, Postpone
from lodestream.flow.removal import free
from lodestream.ledger.pack import Verdict
from lodestream.ledger.strike import mentions, strike
from lodestream.objects import Objects
from lodestream.streams import ensure_streams
from proto import keys
from services.dedup import project as projects
from services.dedup import vectors as chunks
from services.dedup.memory import Ask
from services.dedup.project import Form
from tests.support.ledgers import KIN, RECIPE, ask, kept, owner, stone
from tests.support.near_frames import again, brute_force, hard, static, unit
from tests.support.servers import start_minio, start_nats

THRESHOLD, DIM = 0.92, 32
SMALL = {"ROWS": 60, "ENTRIES": 7, "BLOCK": 50}


@pytest.fixture
async def nats(tmp_path: Path):
    with start_nats(tmp_path) as server:
        bus = await connect(server.url, patience=10)
        await ensure_streams(bus.nc)
        await bus.close()
        yield server.url


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with start_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server.url


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/objects" if request.param == "directory" else request.getfixturevalue("minio")


@pytest.fixture
def form(request: pytest.FixtureRequest) -> Form:
    """A project of the test's own."""
    return Form(request.node.name.partition("[")[0], "node", "f0f0f0f0", None, THRESHOLD, DIM)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments, chunks and bases after a few rows."""
    for name, value in SMALL.items():
        monkeypatch.setattr(projects, name, value)
    monkeypatch.setattr(chunks, "FIRST", 40)


def shards(seed: int, per: int = 20) -> list[Ask]:
    """Videos with frames that are hard to judge, in shards."""
    x = np.vstack([hard(np.random.default_rng([seed, n]), DIM, THRESHOLD) for n in range(2)])
    return [ask(f"web-{seed}-{at // 60}", x[at : at + per], at % 60 // per) for at in range(0, len(x), per)]


def brute(asks: list[Ask]) -> set[str]:
    """Kept frames, one by one."""
    keep, _ = brute_force(np.vstack([each.frames[0] for each in asks]), THRESHOLD)
    parts = np.split(keep, np.cumsum([len(each.indices) for each in asks])[:-1])
    return kept(asks, [Verdict(np.flatnonzero(part).tolist()) for part in parts])


async def test_verdicts_are_those_of_brute_force_and_stand_over_restarts(nats, store, form, tmp_path, small) -> None:
    asks = shards(1)
    async with owner(nats, store, tmp_path, form) as one:
        first = await one.judge(asks[:20])
    async with owner(nats, store, tmp_path, form) as two:
        rest = await two.judge(asks[20:])
        said = await two.judge(random.Random(1).sample(asks, len(asks)))
    assert kept(asks, first + rest) == brute(asks)
    async with owner(nats, store, tmp_path, form) as three:
        told = await three.judge(asks)
        segments = await three.objects_of(form, keys.ledger_segments)
        entries = await three.objects_of(form, keys.ledger_entries)
    assert told == first + rest
    assert sorted(map(repr, said)) == sorted(map(repr, told))
    assert len(segments) > 1
    assert len(entries) < projects.ENTRIES


async def test_every_repeat_names_a_kept_frame_that_is_that_similar(nats, store, form, tmp_path, small) -> None:
    asks = shards(2)
    async with owner(nats, store, tmp_path, form) as one:
        said = await one.judge(asks)
    rows = {f"{a.media}_{time}": row for a in asks for time, row in zip(a.times, a.frames[0], strict=True)}
    new = kept(asks, said)
    told = zip(asks, said, strict=True)
    repeats = [(f"{a.media}_{a.times[repeat.index]}", repeat) for a, verdict in told for repeat in verdict.repeats]
    assert repeats
    for frame, repeat in repeats:
        assert repeat.frame in new
        a, b = rows[frame].astype(float), rows[repeat.frame].astype(float)
        assert repeat.similarity == pytest.approx(min(1, a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-5)


async def test_an_owner_that_was_overtaken_hands_back_and_reads_again(nats, store, form, tmp_path, small) -> None:
    """It neither holds the lease any more nor knows of it, as after it was stopped for long."""
    asks = shards(3)
    async with owner(nats, store, tmp_path, form) as stale, owner(nats, store, tmp_path, form) as other:
        first = await stale.judge(asks[:3])
        await stale.let_go()
        last = stale.project._log.last  # type: ignore[attr-defined]
        rest = await other.judge(asks[3:30])
        await other.let_go()
        stale.project._catch_up = _nothing  # type: ignore[method-assign]
        assert stale.project._log.last == last  # type: ignore[attr-defined]
        with pytest.raises(Postpone):
            await stale.judge(asks[30:33])
        del stale.project._catch_up
        end = await stale.judge(asks[30:])
    assert kept(asks, first + rest + end) == brute(asks)


async def _nothing() -> None:
    """In place of a look at what others wrote."""


async def test_two_workers_take_turns(nats, store, form, tmp_path, small) -> None:
    asks = shards(4)
    async with owner(nats, store, tmp_path, form) as one, owner(nats, store, tmp_path, form) as other:
        said = await asyncio.gather(one.judge(asks[::2]), other.judge(asks[1::2]))
    async with owner(nats, store, tmp_path, form) as third:
        told = await third.judge(asks)
    assert told[::2] == said[0]
    assert told[1::2] == said[1]
    new = kept(asks, told)
    assert all(repeat.frame in new for verdict in told for repeat in verdict.repeats)


async def test_frames_of_other_recipes_do_not_count(nats, store, form, tmp_path) -> None:
    x = static(np.random.default_rng(0), 4, 8, DIM)
    before, after = ask("web-1", x, recipe="bbbbbbbb"), ask("web-2", x, recipe=RECIPE)
    async with owner(nats, store, tmp_path, form) as one:
        (old,) = await one.judge([before], frozenset(("bbbbbbbb",)))
        (new,) = await one.judge([after], KIN)
        (both,) = await one.judge([ask("web-3", x)], frozenset(("bbbbbbbb", RECIPE)))
    assert old.unique == new.unique == [0, 2, 4, 6]
    assert both.unique == []


async def test_a_forgotten_video_frees_its_frames_and_what_repeated_them_is_judged_again(
    nats, store, form, tmp_path, small
) -> None:
    rng = np.random.default_rng(9)
    x = unit(rng.standard_normal((30, DIM))).astype(np.float16)
    asks = [ask("web-gone", x[:20]), ask("web-stays", again(rng, x[:25], 0.99)), ask("web-late", again(rng, x, 0.99))]
    async with owner(nats, store, tmp_path, form) as one:
        said = await one.judge(asks)
        assert [len(verdict.unique) for verdict in said] == [20, 5, 5]
        one.forget(stone("web-gone"))
        (again_,) = await one.judge([asks[1]])
        assert again_.unique == list(range(25))
        assert again_.repeats == []
        (late,) = await one.judge([asks[2]])
        assert late.unique == said[2].unique
        assert {repeat.frame.partition("_")[0] for repeat in late.repeats} == {"web-stays"}
    async with owner(nats, store, tmp_path, form) as two:
        assert await two.judge(asks[1:]) == [again_, late]


async def test_nothing_of_a_forgotten_video_stays_in_the_ledger(nats, store, form, tmp_path, small) -> None:
    rng = np.random.default_rng(9)
    x = unit(rng.standard_normal((200, DIM))).astype(np.float16)
    asks = [ask(f"web-{n}", x[n * 20 : n * 20 + 20]) for n in range(10)]
    asks += [ask(f"web-b{n}", again(rng, x[n * 20 : n * 20 + 20], 0.97)) for n in range(10)]
    async with owner(nats, store, tmp_path, form) as one:
        await one.judge(asks)
        ledger = [key for key in await one.objects_of(form, lambda of: of) if keys.is_ledger(key)]
        named = [key for key in ledger if await mentions(one.objects, key, "web-3".__eq__)]
        assert named
        for key in named:
            await strike(one.objects, key, "web-3".__eq__)
        for key in await one.objects_of(form, lambda of: of):
            data = await one.objects.get(key)
            assert b"web-3_" not in data
            assert b'"web-3"' not in data
            assert x[60:80].tobytes() not in data
        await one.let_go()
        said = await one.judge([asks[13]])
        assert said[0].unique == list(range(20)), "its memory was read again"
    async with owner(nats, store, tmp_path, form) as two:
        told = await two.judge([each for each in asks if each.media != "web-3"])
        assert [len(verdict.unique) for verdict in told] == [20] * 9 + [0] * 3 + [20] + [0] * 6


async def test_a_ledger_that_was_removed_does_not_come_back(nats, store, form, tmp_path) -> None:
    """Somebody who had it writes to it once more."""
    asks = shards(5)
    async with owner(nats, store, tmp_path, form) as stale:
        await stale.judge(asks[:3])
        await stale.let_go()
        for key in await stale.objects_of(form, lambda of: of):
            await stale.objects.delete(key)
        async with owner(nats, store, tmp_path, form) as other:
            said = await other.one_by_one(asks)
        assert kept(asks, said) == brute(asks)
        assert await stale.judge(asks[3:6]) == said[3:6]


class Flaky:
    """A store that is away at every third write: what was to be stored may be there nevertheless."""

    def __init__(self, objects: Objects):
        self._objects, self._writes = objects, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """See Objects."""
        self._writes += 1
        if self._writes % 3 == 1:
            raise Outage("away before")
        made = await self._objects.create(key, data)
        if self._writes % 3 == 2:
            raise Outage("away after")
        return made


async def test_an_outage_of_the_store_is_one_and_changes_no_verdict(nats, store, form, tmp_path, small) -> None:
    asks, outages = shards(10), 0
    async with owner(nats, store, tmp_path, form) as one:
        one.project._log._objects = Flaky(one.objects)  # type: ignore[assignment]
        said = list[Verdict]()
        while len(said) < len(asks):
            try:
                said += await one.judge(asks[len(said) : len(said) + 3])
            except Outage:
                outages += 1
    assert outages > 5
    assert kept(asks, said) == brute(asks)


async def test_what_a_purged_flow_has_had_is_new_to_the_next_one_of_its_name(nats, store, form, tmp_path) -> None:
    asks, namesake = shards(11)[:3], replace(form, flow=form.flow + "s")
    for each in (form, namesake):
        async with owner(nats, store, tmp_path, each) as one:
            await one.judge(asks)
            await free(one.objects, form.flow, purge=True)
    async with owner(nats, store, tmp_path, form) as one:
        assert await one.objects_of(form, str) == []
        assert len(await one.objects_of(namesake, keys.ledger_entries)) == 1


async def test_a_damaged_entry_counts_as_not_seen_and_is_said(nats, form, tmp_path) -> None:
    asks, store = shards(6), f"file://{tmp_path}/objects"
    async with owner(nats, store, tmp_path, form) as one:
        said = await one.one_by_one(asks[:4])
        (_, second, *_) = await one.objects_of(form, keys.ledger_entries)
        await one.objects.put(second, (await one.objects.get(second))[:-200])
    with structlog.testing.capture_logs() as logs:
        async with owner(nats, store, tmp_path, form) as two:
            told = await two.judge([asks[0], asks[2], asks[3]])
            assert told == [said[0], said[2], said[3]]
            await two.judge(asks[4:])
            before = len(await two.objects_of(form, keys.ledger_entries))
            (anew,) = await two.judge([asks[1]])
            assert len(await two.objects_of(form, keys.ledger_entries)) == before + 1
            assert len(anew.unique) + len(anew.repeats) == len(asks[1].indices)
    assert any("ledger unreadable" in line["event"] for line in logs)


KILLED = """
import asyncio, sys, pathlib
import tests.integration.test_dedup_ledger as t
from services.dedup import project as projects, vectors as chunks
vars(projects).update(t.SMALL)
chunks.FIRST = 40

async def main(nats, store, work, form):
    form = t.Form(form, "node", "f0f0f0f0", None, t.THRESHOLD, t.DIM)
    asks = t.shards(7) + t.shards(8)
    async with t.owner(nats, store, pathlib.Path(work), form) as one:
        print("ready", flush=True)
        for start in range(0, len(asks), 3):
            await one.judge(asks[start : start + 3])
            print(start, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_killed_at_random_it_keeps_what_a_clean_run_keeps(nats, store, form, tmp_path, small) -> None:
    """kill -9 in the middle of it; whoever is next begins with what has no verdict, in the same order."""
    asks, dice, kills = shards(7) + shards(8), random.Random(5), 0
    call = [sys.executable, "-c", KILLED, nats, store, str(tmp_path), form.flow]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    while True:
        child = await asyncio.create_subprocess_exec(*call, stdout=subprocess.PIPE, env=env)
        for _ in range(2 + kills // 2):
            await child.stdout.readline()
        if kills < 12:
            await asyncio.sleep(dice.uniform(0, 0.02))
            child.kill()
        await child.stdout.read()
        if await child.wait() == 0:
            break
        kills += 1
        await _free(nats)
    async with owner(nats, store, tmp_path, form) as one:
        assert kept(asks, await one.judge(asks)) == brute(asks)
    assert kills == 12


async def _free(nats: str) -> None:
    """Take the dead one's lease away, which would expire by itself."""
    bus = await connect(nats, patience=10)
    await bus.nc.jetstream().purge_stream("KV_leases")
    await bus.close()
