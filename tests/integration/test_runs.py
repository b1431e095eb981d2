"""What a run was given and what it brought, as the streams and the catalog of a real server have it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from lodestream import runs
from lodestream.bus import Bus, connect
from lodestream.cli import output, screen
from lodestream.runs import Run, latest
from lodestream.status import FlowStatus
from proto import subjects
from proto.messages import Listing, Seed
from tests.support.catalog import Stage, deployed, stage, video
from tests.support.seen import one_video
from tests.support.servers import start_nats


def run(**counts: object) -> Run:
    """A run in which nothing happened but what is said."""
    nothing = {"seeds": 0, "dead": 0, "offered": 0, "candidates": 0, "videos": 0, "bytes": 0, "frames": 0}
    return Run(**{"since": "2026-01-01T00:00:00Z", "published": 1, "rejected": {}} | nothing | counts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({"videos": 1}, ""),
        ({"frames": 1}, ""),
        ({"seeds": 1, "offered": 9, "candidates": 2}, "none of the 2 new candidates became a video"),
        ({"seeds": 1, "offered": 9}, "all 9 videos that were offered are known"),
        ({"seeds": 1, "records_offered": 1200}, "all 1,200 records that were offered are known"),
        ({"seeds": 1, "records_offered": 1200, "records": 1}, ""),
        ({"seeds": 1}, "the new seeds offered no video"),
        ({"dead": 1}, "what was published could not be done; see: lode dead ls"),
        ({}, "every seed is known, and known seeds are not looked at again; to look again: lode seed --again"),
    ],
)
def test_nothing_new_has_a_reason(counts: dict[str, object], why: str) -> None:
    assert run(**counts).nothing_new == why


def test_the_summary_counts_what_was_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    full = run(seeds=1, offered=200, candidates=20, videos=15, bytes=34_000_000, frames=300, rejected={"gone": 3})
    output.show(*screen.run_summary(full))
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  published  1 message: 1 new seed, 0 dead letters",
        "  offered    200 videos: 20 new, 180 skipped because known",
        "  got        15 new videos (34 MB), 300 new frames",
        "  rejected   3 gone",
    ]


def test_the_summary_says_what_was_seen_in_frames(capsys: pytest.CaptureFixture[str]) -> None:
    output.show(*screen.run_summary(run(videos=1, frames=300, kept=200, uniques=1, boxes=2)))
    assert "  saw        200 frames to keep, 1 new to the flow, 2 boxes" in capsys.readouterr().out.splitlines()


def test_status_shows_the_yield_and_what_has_run_dry(capsys: pytest.CaptureFixture[str]) -> None:
    flow = FlowStatus(
        flow="f", at="", nodes=[], messages=9, bytes=1, max_bytes=-1, last_seq=9, catalog_behind=0,
        new_videos=[0] * 9 + [1, 80, 40], dry=["example.org has run dry"],
    )  # fmt: skip
    output.show(*screen.flow_yield(flow))
    bars, dry = capsys.readouterr().out.splitlines()
    assert bars.split("  ", 2)[1] == "new videos: 40 this hour, 121 in 12 h"
    assert bars.endswith("         \u2581\u2588\u2584")
    assert dry == "  example.org has run dry"


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Stage]:
    """A server, a catalog, flow `demo`."""
    with start_nats(tmp_path) as server:
        async with stage(server.url, tmp_path) as made:
            await made.deploy(deployed("demo"))
            made.start()
            yield made


@pytest.fixture
async def bus(made: Stage) -> AsyncIterator[Bus]:
    """A connection of the engine's."""
    bus = await connect(made.url, patience=5)
    yield bus
    await bus.close()


async def seeded(made: Stage, offered: int, *numbers: int, name: str) -> None:
    """A seed is published, and what comes of it."""
    await made.nc.jetstream().publish(subjects.seeds("demo"), name.encode())
    listed = ("discover", "find", "listings", Listing(id=name, offered=offered))
    seed = ("intake", "seeds", "seed", Seed(id=name, kind="query", value=name))
    await made.publish("demo", [seed, *(output for number in numbers for output in video(number)), listed])
    await made.settled()


async def test_a_run_counts_what_came_since_its_first_seed(
    made: Stage, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await latest(bus, made.ways, "demo") is None
    monkeypatch.setattr(runs, "GAP", timedelta(seconds=0.5))
    await seeded(made, 12, *range(10), name="one")
    first = await latest(bus, made.ways, "demo")
    assert first
    assert (first.published, first.seeds, first.offered, first.known, first.videos, first.frames) == (
        1,
        1,
        12,
        2,
        9,
        90,
    )
    assert first.rejected == {"gone": 1}
    assert (first.kept, first.uniques, first.boxes) == (0, 0, 0)
    await made.publish("demo", one_video())
    await made.settled()
    first = await latest(bus, made.ways, "demo")
    assert first
    assert (first.kept, first.uniques, first.boxes) == (4, 2, 3)
    await asyncio.sleep(0.6)
    await seeded(made, 12, name="two")
    second = await latest(bus, made.ways, "demo")
    assert second
    assert (second.published, second.known, second.videos, second.rejected) == (1, 12, 0, {})
    assert second.nothing_new == "all 12 videos that were offered are known"
    monkeypatch.setattr(runs, "GAP", timedelta(minutes=1))
    both = await latest(bus, made.ways, "demo")
    assert both
    assert (both.published, both.seeds, both.offered, both.videos) == (2, 2, 24, 9)
