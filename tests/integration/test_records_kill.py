"""A worker that is killed in the middle of what was paid for: nothing lost, nothing doubled, nothing paid for twice."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lodestream.bus import Bus, connect
from lodestream.cli.export import lines
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.process import NATS_URL, OBJECTS, WORK
from lodestream.streams import ensure_streams
from proto import subjects
from proto.messages import Listing, Rejected, Seed, decode_any, encode
from tests.support.engine import eventually
from tests.support.paged_api import PagedApi, serve
from tests.support.servers import Running, start_nats

PAGES, KILLS = 50, 2
FLOW = """
flow: t
nodes:
  seeds: {{type: intake}}
  mine: {{type: records, from: seeds, items: data.items, cursor: meta.cursor, cursor_param: cursor,
          allow_hosts: ["{address}"]}}
"""
ACK_WAIT = 2.0
"""Seconds until the server gives a dead worker's message to another; shorter than a flow's, to save time."""


@pytest.fixture
def api() -> Iterator[PagedApi]:
    with serve() as running:
        running.pages, running.pause = PAGES, 0.1
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with start_nats(tmp_path) as running:
        yield running


@pytest.fixture
async def bus(server: Running, api: PagedApi) -> AsyncIterator[Bus]:
    """A connection to a server with the flow."""
    bus = await connect(server.url, patience=10)
    await ensure_streams(bus.nc)
    flow, problems = lint(FLOW.format(address=api.address))
    assert flow, problems
    await deploy(bus.nc, flow)
    js = bus.nc.jetstream()
    config = (await js.consumer_info("FLOW_t", subjects.durable("records", 1))).config
    config.ack_wait = ACK_WAIT
    await js.add_consumer("FLOW_t", config)
    yield bus
    await bus.close()


@contextmanager
def worker(server: Running, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One worker process, gone at the end."""
    env = os.environ | {NATS_URL: server.url, OBJECTS: f"file://{folder}/objects", WORK: str(folder / "work")}
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "lodestream.worker", "records"], env=env, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def plant(bus: Bus, seed: Seed) -> None:
    """Publish a seed, as intake would."""
    entity = subjects.output("t", "intake", "seeds", "seeds", seed.id)
    await bus.nc.jetstream().publish(entity, encode(seed))


async def listed(bus: Bus, count: int) -> bool:
    found = await bus.nc.jetstream().stream_info(
        "FLOW_t", subjects_filter=subjects.wire("t", "records", "mine", "listings")
    )
    return len(found.state.subjects or {}) == count


async def stored(bus: Bus) -> int:
    found = await bus.nc.jetstream().stream_info(
        "FLOW_t", subjects_filter=subjects.wire("t", "records", "mine", "records")
    )
    return len(found.state.subjects or {})


@pytest.mark.timeout(300)
async def test_every_record_once_and_no_page_paid_for_twice(
    bus: Bus, server: Running, api: PagedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LODE_HOME", str(tmp_path))
    await plant(bus, Seed(id="records-1", kind="records", value=f"{api.base}/news"))
    for kill in range(1, KILLS + 1):
        with worker(server, tmp_path) as process:

            async def far_enough(kill: int = kill) -> bool:
                return len(api.asked) >= kill * PAGES // (KILLS + 1)

            await eventually(far_enough, 90)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not await listed(bus, 1)
    with worker(server, tmp_path):
        await eventually(lambda: listed(bus, 1), 90)
        exported = [json.loads(line) async for line in lines(bus, "t", None, None)]
        assert [each["data"] for each in exported] == api.source()
        assert len(api.asked) == PAGES
        assert sum(api.asked.values()) - PAGES <= KILLS
        assert max(api.asked.values()) <= 2
        await look_again(bus, api)


async def look_again(bus: Bus, api: PagedApi) -> None:
    """Another round asks again and adds what is new; the same seed does neither."""
    before, api.pause, api.pages = sum(api.asked.values()), 0.0, PAGES + 2
    refused = await bus.nc.request(subjects.output("t", "intake", "seeds", "seeds", "records-1"), b"{}", timeout=5)
    assert b"maximum messages per subject" in refused.data
    await plant(bus, Seed(id="records-2", kind="records", value=f"{api.base}/news", round="2"))
    await eventually(lambda: listed(bus, 2), 60)
    assert sum(api.asked.values()) == before + PAGES + 2
    assert await stored(bus) == len(api.source()) == (PAGES + 2) * 10
    exported = [json.loads(line) async for line in lines(bus, "t", None, None)]
    assert [each["data"] for each in exported] == api.source()


@pytest.mark.timeout(300)
async def test_what_stays_broken_goes_on_after_a_retry_of_its_dead_letter(
    bus: Bus, server: Running, api: PagedApi, tmp_path: Path
) -> None:
    from lodestream import deadletters

    js = bus.nc.jetstream()
    api.pages, api.pause, api.faults["c4"] = 6, 0, ["402"]
    await plant(bus, Seed(id="records-1", kind="records", value=f"{api.base}/news"))
    with worker(server, tmp_path):

        async def dead() -> bool:
            return bool(await deadletters.unresolved(js, "t"))

        await eventually(dead, 60)
        [letter] = await deadletters.unresolved(js, "t")
        assert letter.letter.reason == "members"
        assert "30 records of 3 pages are kept" in letter.letter.detail
        await deadletters.retry(js, letter)
        await eventually(lambda: listed(bus, 1), 60)
    assert await stored(bus) == 60
    assert dict(api.asked) == {"c1": 1, "c2": 1, "c3": 1, "c4": 2, "c5": 1, "c6": 1}


@pytest.mark.timeout(300)
async def test_a_loop_is_listed_as_incomplete_and_refused(
    bus: Bus, server: Running, api: PagedApi, tmp_path: Path
) -> None:
    api.pause = 0
    await plant(bus, Seed(id="records-1", kind="records", value=f"{api.base}/loop"))
    with worker(server, tmp_path):
        await eventually(lambda: listed(bus, 1), 60)
        js = bus.nc.jetstream()

        async def last(port: str) -> object:
            found = await js.stream_info("FLOW_t", subjects_filter=subjects.wire("t", "records", "mine", port))
            names = list(found.state.subjects or {})
            return decode_any((await js.get_last_msg("FLOW_t", names[0])).data or b"") if names else None

        async def refused() -> bool:
            return isinstance(await last("rejected"), Rejected)

        await eventually(refused, 30)
    listing, no = await last("listings"), await last("rejected")
    assert isinstance(listing, Listing)
    assert isinstance(no, Rejected)
    assert (listing.offered, listing.complete, no.reason) == (40, False, "endless")
