"""A large file that breaks off: the next attempt goes on from there, whoever makes it, and no byte is sent twice."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from lodestream.errors import Retry
from proto.messages import Media
from services.fetch import direct, kept, pace
from services.fetch import web as fetch_web
from services.fetch.node import NODE
from tests.support.fetching import Fetching, fetching
from tests.support.hosts import Host, busy, hosts, video

SIZE, STOP = 5_000_000, 4_500_000
FILE, CHANGED = video("old", SIZE), video("new", SIZE)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with hosts("site") as (made,):
        yield made


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Fetching]:
    async with fetching(tmp_path) as running:
        yield running
        assert running.left() == []


async def get(node: Fetching, host: Host, attempt: int = 1) -> Media:
    return await node.fetch(
        host.candidate(1).url, "web-1", attempt=attempt, allow_hosts=[f"127.0.0.1:{host.port}"], max_bytes=SIZE
    )


async def breaks_off(node: Fetching, host: Host, reason: str = "server") -> Retry:
    """The first attempt: most of it comes, then the site fails."""

    async def most_of_it(host: Host, request: web.BaseRequest) -> web.StreamResponse:
        if host.sent:
            return await busy(host, request)
        return await host.part(request, FILE, stop=STOP)

    host.answer = most_of_it
    with pytest.raises(Retry, match=reason) as caught:
        await get(node, host)
    assert node.left() == []
    return caught.value


def serve(host: Host, data: bytes, tag: str = '"v1"') -> None:
    async def answer(host: Host, request: web.BaseRequest) -> web.StreamResponse:
        return await host.part(request, data, tag=tag)

    host.answer = answer


def kept_in(node: Fetching) -> list[str]:
    folder = node.parts.work.parent / kept.FOLDER
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def test_the_next_attempt_asks_for_the_rest_only(node, host):
    await breaks_off(node, host)
    assert kept_in(node) == ["web-1"]
    serve(host, FILE)
    media = await get(node, host, attempt=2)
    assert media.sha256 == hashlib.sha256(FILE).hexdigest()
    assert (media.bytes, media.damage) == (SIZE, "")
    assert host.ranges == ["", f"bytes={STOP}-", f"bytes={STOP}-"]  # the second one was the 503
    assert host.sent == SIZE
    assert kept_in(node) == []


async def test_another_worker_on_this_machine_goes_on(node, host):
    await breaks_off(node, host)
    serve(host, FILE)
    work = node.parts.work.parent / "another"
    work.mkdir()
    parts = replace(node.parts, work=work)
    assert NODE.open
    async with NODE.open(parts) as state:
        media = await get(Fetching(parts, state), host, attempt=2)
    assert media.sha256 == hashlib.sha256(FILE).hexdigest()
    assert host.sent == SIZE


async def test_of_a_file_that_changed_meanwhile_everything_is_new(node, host):
    await breaks_off(node, host)
    serve(host, CHANGED, '"v2"')
    media = await get(node, host, attempt=2)
    assert media.sha256 == hashlib.sha256(CHANGED).hexdigest()
    assert host.sent == STOP + SIZE


async def test_what_became_shorter_is_asked_for_from_its_beginning(node, host):
    await breaks_off(node, host)

    async def shorter(host: Host, request: web.BaseRequest) -> web.StreamResponse:
        if "Range" in request.headers:
            return web.Response(status=416)
        return await host.part(request, FILE[: SIZE // 2], tag='"v2"')

    host.answer = shorter
    with pytest.raises(Retry, match="HTTP 416"):
        await get(node, host, attempt=2)
    assert kept_in(node) == []
    media = await get(node, host, attempt=3)
    assert media.bytes == SIZE // 2


async def test_too_slow_is_no_reason_to_begin_again(node, host, monkeypatch):
    monkeypatch.setattr(pace, "STALL_S", 1.0)

    async def stalls(host: Host, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": '"v1"', "Content-Type": "video/mp4"})
        response.content_length = SIZE
        await response.prepare(request)
        await response.write(FILE[:STOP])
        host.sent += STOP
        await host.hang()
        return response

    host.answer = stalls
    with pytest.raises(Retry, match="too slow"):
        await get(node, host)
    serve(host, FILE)
    media = await get(node, host, attempt=2)
    assert media.sha256 == hashlib.sha256(FILE).hexdigest()
    (first, second) = host.ranges
    assert first == ""
    begin = int(second.removeprefix("bytes=").rstrip("-"))
    assert kept.LEAST <= begin <= STOP
    assert host.sent == STOP + SIZE - begin


async def test_a_file_that_breaks_off_time_and_again_comes_in_one_attempt_as_long_as_it_moves(node, host):
    step = direct.STEP + 1

    async def little_by_little(host: Host, request: web.BaseRequest) -> web.StreamResponse:
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        stop = begin + step if begin + step < len(data) else None
        return await host.part(request, data, stop=stop)

    data = video("long", 10 * direct.STEP)
    host.answer = little_by_little
    media = await node.fetch(
        host.candidate(1).url, "web-1", allow_hosts=[f"127.0.0.1:{host.port}"], max_bytes=len(data)
    )
    assert media.sha256 == hashlib.sha256(data).hexdigest()
    assert host.sent == len(data)
    assert len(host.asked) == 10 > direct.RESUMES


async def test_without_a_validator_nothing_is_kept(node, host):
    async def anonymous(host: Host, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "video/mp4"})
        response.content_length = SIZE
        await response.prepare(request)
        await response.write(FILE[:STOP])
        assert request.transport
        request.transport.close()
        return response

    host.answer = anonymous
    with pytest.raises(Retry, match="network"):
        await get(node, host)
    assert kept_in(node) == []


async def test_another_url_of_the_same_video_begins_again(node, host):
    await breaks_off(node, host)
    serve(host, FILE)
    url = host.candidate(2).url
    media = await node.fetch(url, "web-1", attempt=2, allow_hosts=[f"127.0.0.1:{host.port}"], max_bytes=SIZE)
    assert media.bytes == SIZE
    assert host.sent == STOP + SIZE


async def stalls(host: Host, request: web.BaseRequest) -> web.StreamResponse:
    """Most of it comes, and then nothing."""
    response = web.StreamResponse(headers={"ETag": '"v1"', "Content-Type": "video/mp4"})
    response.content_length = SIZE
    await response.prepare(request)
    await response.write(FILE[:STOP])
    host.sent += STOP
    await host.hang()
    return response


DOOMED = """
import asyncio, sys
from pathlib import Path
from tests.support.fetching import fetching

async def main():
    async with fetching(Path(sys.argv[1])) as node:
        await node.fetch(sys.argv[2], "web-1", allow_hosts=[sys.argv[3]])

asyncio.run(main())
"""


async def test_what_had_come_whole_is_not_asked_for_again(node, host):
    serve(host, FILE)
    path = node.parts.work / "download"
    path.write_bytes(FILE)
    kept.Kept(node.parts.work).begin("web-1", kept.Facts(host.candidate(1).url, '"v1"', SIZE), path)
    path.unlink()
    media = await get(node, host)
    assert media.sha256 == hashlib.sha256(FILE).hexdigest()
    assert (host.sent, host.ranges, kept_in(node)) == (0, [], [])


async def test_being_killed_loses_nothing_that_came(node, host, tmp_path):
    host.answer, dead = stalls, tmp_path / "dead"
    dead.mkdir()
    allowed = f"127.0.0.1:{host.port}"
    command = [sys.executable, "-c", DOOMED, str(dead), host.candidate(1).url, allowed]
    process = await asyncio.create_subprocess_exec(*command, cwd=Path(__file__).parents[2])
    try:
        async with asyncio.timeout(60):
            while not any(path.stat().st_size == STOP for path in dead.rglob(f"{kept.FOLDER}/web-1/data")):
                await asyncio.sleep(0.05)
    finally:
        process.kill()
        await process.wait()
    (begun,) = dead.rglob(kept.FOLDER)
    begun.rename(node.parts.work.parent / kept.FOLDER)  # as if both had worked in one place
    serve(host, FILE)
    media = await get(node, host)
    assert media.sha256 == hashlib.sha256(FILE).hexdigest()
    assert host.ranges == ["", f"bytes={STOP}-"]
    assert kept_in(node) == []


async def test_being_stopped_keeps_what_came(node, host, monkeypatch):
    monkeypatch.setattr(fetch_web, "FIRST_BYTE_S", 60.0)
    host.answer = stalls
    task = asyncio.create_task(get(node, host))
    async with asyncio.timeout(30):
        while host.sent < STOP:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait([task])
    assert kept_in(node) == ["web-1"]
