"""Workers and what is forgotten: known videos are refused, and who was at one when it was forgotten leaves nothing."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lodestream.demo.clips import Clip
from lodestream.errors import Reject
from lodestream.forget import tombs, work
from lodestream.forget.plan import plan
from lodestream.forget.tombs import Tombstone
from lodestream.letters import now
from lodestream.node import Node
from proto.messages import Rejected
from tests.support.engine import Bench, bench, candidate, declare, eventually, media
from tests.support.fetching import fetching
from tests.support.servers import start_nats

ID = "web-1"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with start_nats(tmp_path) as server:
        yield server.url


class Slow:
    """A node that stores something, then works until it is told that it is done."""

    def __init__(self, **more: Any) -> None:
        self.begun, self.done = asyncio.Event(), asyncio.Event()
        self.times = 0
        self.node: Node = declare(self._handle, **more)

    async def _handle(self, message: Any, job: Any) -> AsyncIterator[Any]:
        self.times += 1
        key = f"media/{message.id}/x.mp4"
        await job.objects.put(key, b"bytes")
        self.begun.set()
        await self.done.wait()
        yield "media", media(message, key)


async def stored(made: Bench, prefix: str = "") -> list[str]:
    return [s.key async for s in made.objects.list(prefix) if not s.key.startswith("forgotten/")]


async def reasons(made: Bench) -> list[str]:
    """Why each output of the node is a no; empty for one that is none."""
    return [m.reason if isinstance(m, Rejected) else "" for m in (await made.stored()).values()]


def stone() -> Tombstone:
    return Tombstone(kind="video", ident=ID, at=now(), media=[ID])


async def test_what_was_forgotten_is_refused_without_work(url: str, tmp_path: Path) -> None:
    async with bench(url, tmp_path) as made:
        await tombs.write(made.objects, made.bus, stone())
        slow = Slow()
        slow.done.set()
        runner = await made.run(slow.node)
        await runner.parts.forgotten.read(made.objects)
        await made.offer(candidate(1), candidate(2))
        await eventually(lambda: done(made), 30)
        assert slow.times == 1
        assert sorted(await reasons(made)) == ["", "forgotten"]


async def test_who_was_at_it_when_it_was_forgotten_leaves_nothing(url: str, tmp_path: Path) -> None:
    async with bench(url, tmp_path) as made:
        slow = Slow()
        runner = await made.run(slow.node)
        await made.offer(candidate(1))
        await slow.begun.wait()
        await work.forget(made.bus, made.objects, await plan(made.bus, made.objects, ID))
        await runner.parts.forgotten.read(made.objects)
        slow.done.set()
        await eventually(lambda: gives(made, 1), 30)
        assert await reasons(made) == ["forgotten"]
        assert await stored(made) == []


async def test_what_a_worker_gave_that_had_not_heard_of_it_is_swept(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(url, tmp_path) as made:
        slow = Slow()
        await made.run(slow.node)
        await made.offer(candidate(1))
        await slow.begun.wait()
        await work.forget(made.bus, made.objects, await plan(made.bus, made.objects, ID))
        slow.done.set()
        await eventually(lambda: gives(made, 1), 30)
        assert await reasons(made) == [""]
        assert await stored(made)
        monkeypatch.setattr(work, "SWEEPS", (0.0,))
        await work.sweep(made.bus, made.objects)
        assert await made.stored() == {}
        assert await stored(made) == []


async def test_a_remembered_list_gives_only_what_was_not_forgotten(url: str, tmp_path: Path) -> None:
    async def handle(message: Any, job: Any) -> AsyncIterator[Any]:
        for number in (1, 2):
            yield "found", candidate(number)

    async with bench(url, tmp_path) as made:
        node = declare(handle, gives={"found": type(candidate(1))}, streams=True)
        runner = await made.run(node)
        await tombs.write(made.objects, made.bus, stone())
        await runner.parts.forgotten.read(made.objects)
        await made.offer(candidate(7))
        await eventually(lambda: done(made), 30)
        (key,) = await stored(made, "memo/")
        remembered = await made.objects.get(key)
        assert b"web-2" in remembered
        assert b'"web-1"' not in remembered
        assert sorted(await reasons(made)) == ["", "forgotten"]


async def test_a_worker_hears_of_it_at_once(url: str, tmp_path: Path) -> None:
    async with bench(url, tmp_path) as made:
        known, ready = tombs.Forgotten(), asyncio.Event()
        following = asyncio.create_task(known.follow(made.bus, made.objects, ready.set))
        await ready.wait()
        assert not known.stones
        await tombs.write(made.objects, made.bus, stone())
        await eventually(lambda: _true(known.names(ID)), tombs.LOOK_AGAIN / 2)
        await tombs.remove(made.objects, made.bus, stone())
        await eventually(lambda: _true(not known.stones), tombs.LOOK_AGAIN / 2)
        following.cancel()


async def test_the_same_bytes_from_elsewhere_are_refused_and_not_stored(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(Clip("a", seconds=1).encode())
    async with fetching(tmp_path) as fetch:
        first = await fetch.fetch((folder / "a.mp4").as_uri(), allow_folders=[str(folder)])
        gone = Tombstone(kind="video", ident=ID, at=now(), contents=[first.sha256])
        await fetch.parts.objects.put(gone.key, msgspec.json.encode(gone))
        await fetch.parts.forgotten.read(fetch.parts.objects)
        before = await fetch.keys("")
        with pytest.raises(Reject, match="forgotten"):
            await fetch.fetch((folder / "a.mp4").as_uri(), "web-2", allow_folders=[str(folder)])
        assert await fetch.keys("") == before


async def done(made: Bench) -> bool:
    return await made.pending() == 0


async def gives(made: Bench, count: int) -> bool:
    return len(await made.stored()) == count


async def _true(value: bool) -> bool:
    return value
