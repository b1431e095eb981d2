"""After an end that was not in order nodes begin again behind what is certain; on a real server, one that lost its end.

A node whose acks outlive what they were for has lost messages for ever: that is what is prevented here.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from lodestream.bus import Bus
from lodestream.errors import Outage
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.local import floors
from lodestream.local.floors import Floors
from lodestream.objects import Objects, Stat
from lodestream.objects.directory import Directory
from lodestream.streams import ensure_streams
from proto import keys, subjects
from tests.faults.powercut import Disk
from tests.support.flows import GOOD, types
from tests.support.servers import Running, start_nats

STREAM, CUT = "FLOW_clips", "cut-1"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A server that writes everything at once, and syncs when we say so: never."""
    with start_nats(tmp_path, 'jetstream { sync_interval: "1h" }') as running:
        yield running


async def deployed(server: Running) -> Client:
    """A connection to it, with the streams that every instance has and a deployed flow."""
    nc = await nats.connect(server.url)
    await ensure_streams(nc)
    flow, problems = lint(GOOD, types())
    assert flow, problems
    await deploy(nc, flow)
    return nc


class Away(Directory):
    """A store that does not answer until it is told to."""

    away = True

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        if self.away:
            raise Outage("away")
        return super().list(prefix)


def floors_in(folder: Path, objects: Objects | None = None) -> Floors:
    """The notes of an instance in a folder."""
    return Floors(folder / "floors.json", objects or Directory(folder / "objects"))


async def give(nc: Client, *names: str) -> None:
    """Publish what a `get` would."""
    for name in names:
        await nc.request(subjects.output("clips", "get", "get", "media", name), b"{}")


async def take(nc: Client, count: int, *, ack: bool = True) -> list[str]:
    """What the node that cuts is given, as a worker takes it: the videos' names."""
    pull = await nc.jetstream().pull_subscribe_bind(CUT, STREAM)
    got = await pull.fetch(count, timeout=5)
    for msg in got if ack else ():
        await msg.ack_sync()
    await pull.unsubscribe()
    return [msg.subject.rpartition(".")[2] for msg in got]


def names(first: int, last: int) -> list[str]:
    """v3 v4 v5"""
    return [f"v{n}" for n in range(first, last + 1)]


async def test_work_begins_again_behind_what_was_acked_a_note_before(server: Running, tmp_path: Path) -> None:
    nc, floors = await deployed(server), floors_in(tmp_path)
    await give(nc, *names(0, 9))
    for count in (3, 2, 4):
        assert len(await take(nc, count)) == count
        await floors.note(nc)
    assert f"{STREAM} {CUT}" in await floors_in(tmp_path).rewind(nc)
    assert await take(nc, 10) == names(5, 9), "the older note said five"
    await nc.close()


async def test_after_an_end_in_order_nothing_is_touched(server: Running, tmp_path: Path) -> None:
    nc, floors = await deployed(server), floors_in(tmp_path)
    await give(nc, *names(0, 4))
    await floors.note(nc)
    assert await take(nc, 2) == names(0, 1)
    floors.forget()
    assert await floors_in(tmp_path).rewind(nc) == []
    assert await take(nc, 5) == names(2, 4)
    await nc.close()


@pytest.mark.parametrize("notes", ["", "{}", '{"older": {}, "newer": {}}'])
async def test_where_nothing_is_certain_all_is_looked_at_again(server: Running, tmp_path: Path, notes: str) -> None:
    nc, file = await deployed(server), tmp_path / "floors.json"
    await give(nc, *names(0, 4))
    assert await take(nc, 5) == names(0, 4)
    file.write_text(notes)
    await floors_in(tmp_path).rewind(nc)
    assert await take(nc, 5) == names(0, 4)
    await nc.close()


async def test_a_consumer_that_was_started_anew_since_is_given_all(server: Running, tmp_path: Path) -> None:
    nc, file = await deployed(server), tmp_path / "floors.json"
    await give(nc, *names(0, 4))
    assert await take(nc, 5) == names(0, 4)
    for _ in range(2):
        await floors_in(tmp_path).note(nc)
    file.write_text(file.read_text().replace('"since":"2', '"since":"1'))
    await floors_in(tmp_path).rewind(nc)
    assert await take(nc, 5) == names(0, 4)
    await nc.close()


async def test_what_was_acked_for_messages_that_a_power_cut_took_is_done_again(server: Running, tmp_path: Path) -> None:
    nc, floors, disk = await deployed(server), floors_in(tmp_path), Disk(server.folder / "data")
    await give(nc, *names(0, 9))
    assert await take(nc, 5) == names(0, 4)
    for _ in range(2):
        await floors.note(nc)
    disk.look()
    assert await take(nc, 5) == names(5, 9)
    await give(nc, *names(20, 24))
    assert await take(nc, 5, ack=False) == names(20, 24)
    await asyncio.sleep(0.5)  # it writes what it knows of consumers ten times a second
    await nc.close()
    server.kill()
    assert disk.cut() > 0, "the last messages; the acks are newer, and kept"
    server.start()
    nc = await nats.connect(server.url)
    await floors_in(tmp_path).rewind(nc)
    await give(nc, *names(30, 39))
    assert await take(nc, 20) == [*names(5, 9), *names(30, 39)]
    await nc.close()


async def test_attempts_that_no_longer_count_are_forgotten_once_the_store_answers(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "EVERY", 0.05)
    nc, key = await deployed(server), keys.attempts("clips", "cut", "1-3")
    for objects in (Directory(tmp_path / "objects"), Away(tmp_path / "objects")):
        await Directory(tmp_path / "objects").put(key, b"[]")
        await floors_in(tmp_path).note(nc)
        begun = floors_in(tmp_path, objects)
        assert await begun.rewind(nc)
        assert bool(await objects.stat(key)) == isinstance(objects, Away)
    keeping = asyncio.create_task(begun.keep(Bus(nc)))
    await asyncio.sleep(0.2)
    assert await objects.stat(key)
    objects.away = False
    async with asyncio.timeout(30):
        while await objects.stat(key):
            await asyncio.sleep(0.02)
    keeping.cancel()
    await nc.close()
