"""After an end that was not in order nodes begin again behind what is certain; on a real server, one that lost its end.

A node whose acks outlive what they were for has lost messages for ever: that is what is prevented here.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from lodestream import floors
from lodestream.bus import Bus
from lodestream.compose.floorstream import FloorStream
from lodestream.compose.house import kept_floors
from lodestream.errors import Outage
from lodestream.floors import Floors, Place
from lodestream.flow.deploy import deploy
from lodestream.flow.lint import lint
from lodestream.local.floorfile import FloorFile
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


class Notes:
    """Makes the notes of an instance, in one of the places where there are any."""

    def __init__(self, where: str):
        self._where = where

    def place(self, nc: Client, folder: Path) -> Place:
        return FloorFile(folder / "floors.json") if self._where == "file" else FloorStream(nc)

    def __call__(self, nc: Client, folder: Path, objects: Objects | None = None) -> Floors:
        return Floors(self.place(nc, folder), objects or Directory(folder / "objects"))


@pytest.fixture(params=["file", "stream"])
def notes(request: pytest.FixtureRequest) -> Notes:
    """Those of an instance on one machine, and of one in containers."""
    return Notes(request.param)


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


async def test_work_begins_again_behind_what_was_acked_a_note_before(
    server: Running, tmp_path: Path, notes: Notes
) -> None:
    nc = await deployed(server)
    floors = notes(nc, tmp_path)
    await give(nc, *names(0, 9))
    for count in (3, 2, 4):
        assert len(await take(nc, count)) == count
        await floors.note(nc)
    assert f"{STREAM} {CUT}" in await notes(nc, tmp_path).rewind(nc)
    assert await take(nc, 10) == names(5, 9), "the older note said five"
    await nc.close()


async def test_after_an_end_in_order_nothing_is_touched(server: Running, tmp_path: Path, notes: Notes) -> None:
    nc = await deployed(server)
    floors = notes(nc, tmp_path)
    await give(nc, *names(0, 4))
    await floors.note(nc)
    assert await take(nc, 2) == names(0, 1)
    await floors.forget()
    assert await notes(nc, tmp_path).rewind(nc) == []
    assert await take(nc, 5) == names(2, 4)
    await nc.close()


@pytest.mark.parametrize("said", [b"x", b"{}", b'{"older": {}, "newer": {}}'])
async def test_where_nothing_is_certain_all_is_looked_at_again(
    server: Running, tmp_path: Path, notes: Notes, said: bytes
) -> None:
    nc = await deployed(server)
    place = notes.place(nc, tmp_path)
    await give(nc, *names(0, 4))
    assert await take(nc, 5) == names(0, 4)
    await place.write(said)
    await notes(nc, tmp_path).rewind(nc)
    assert await take(nc, 5) == names(0, 4)
    await nc.close()


async def test_a_consumer_that_was_started_anew_since_is_given_all(
    server: Running, tmp_path: Path, notes: Notes
) -> None:
    nc = await deployed(server)
    place = notes.place(nc, tmp_path)
    await give(nc, *names(0, 4))
    assert await take(nc, 5) == names(0, 4)
    for _ in range(2):
        await notes(nc, tmp_path).note(nc)
    await place.write((await place.read() or b"").replace(b'"since":"2', b'"since":"1'))
    await notes(nc, tmp_path).rewind(nc)
    assert await take(nc, 5) == names(0, 4)
    await nc.close()


async def test_what_was_acked_for_messages_that_a_power_cut_took_is_done_again(
    server: Running, tmp_path: Path, notes: Notes
) -> None:
    nc, disk = await deployed(server), Disk(server.folder / "data")
    floors = notes(nc, tmp_path)
    await give(nc, *names(0, 9))
    assert await take(nc, 5) == names(0, 4)
    for _ in range(2):
        await floors.note(nc)
    disk.look()
    disk.fail()
    assert await take(nc, 5) == names(5, 9)
    await give(nc, *names(20, 24))
    assert await take(nc, 5, ack=False) == names(20, 24)
    await asyncio.sleep(0.5)  # it writes what it knows of consumers ten times a second
    await nc.close()
    server.kill()
    assert disk.cut() > 0, "the last messages; the acks are newer, and kept"
    server.start()
    nc = await nats.connect(server.url)
    await notes(nc, tmp_path).rewind(nc)
    await give(nc, *names(30, 39))
    assert await take(nc, 20) == [*names(5, 9), *names(30, 39)]
    await nc.close()


async def test_attempts_that_no_longer_count_are_forgotten_once_the_store_answers(
    server: Running, tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "EVERY", 0.05)
    nc, key = await deployed(server), keys.attempts("clips", "cut", "1-3")
    for objects in (Directory(tmp_path / "objects"), Away(tmp_path / "objects")):
        await Directory(tmp_path / "objects").put(key, b"[]")
        await notes(nc, tmp_path).note(nc)
        begun = notes(nc, tmp_path, objects)
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


async def test_the_house_of_a_stack_looks_back_after_it_was_killed_and_not_after_it_was_told_to_end(
    server: Running, tmp_path: Path
) -> None:
    nc, said = await deployed(server), list[str]()
    objects = Directory(tmp_path / "objects")
    await give(nc, *names(0, 4))
    async with kept_floors(Bus(nc), objects, said.append):
        assert await take(nc, 5) == names(0, 4)
    async with kept_floors(Bus(nc), objects, said.append):
        assert said == [], "it had ended in order"
    await Floors(FloorStream(nc), objects).note(nc)
    async with kept_floors(Bus(nc), objects, said.append):
        assert [f"{STREAM} {CUT}" in line for line in said] == [True]
    await nc.close()


async def test_notes_on_the_server_outlive_the_loss_of_the_newest(server: Running, tmp_path: Path) -> None:
    nc = await deployed(server)
    place = FloorStream(nc)
    for n in range(6):
        await place.write(b"%d" % n)
    last = await nc.jetstream().get_last_msg(subjects.HOUSE, subjects.FLOORS)
    assert await place.read() == b"5"
    await nc.jetstream().delete_msg(subjects.HOUSE, last.seq or 0)
    assert await place.read() == b"4"
    await place.clear()
    assert await place.read() is None
    await nc.close()
