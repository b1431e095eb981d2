"""A web API that gives records page by page and counts what it is asked, well and badly, on loopback."""

import asyncio
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PER_PAGE = 10
NEWS = "/news"
"""The path of the API that behaves."""


def record(number: int) -> dict[str, Any]:
    """The record of this number, from 1."""
    return {"id": number, "text": f"Record {number} \u2713", "score": number / 4, "tags": ["a", {"b": None}]}


def page_of(first: int, count: int = PER_PAGE) -> list[dict[str, Any]]:
    """So many records."""
    return [record(first + n) for n in range(count)]


@dataclass
class PagedApi:
    """A running API."""

    base: str = ""
    next_door: str = ""
    """The same on 127.0.0.2, which no test allows."""
    pages: int = 5
    pause: float = 0
    """Seconds that each answer takes."""
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By cursor: what goes wrong, one request after the other."""
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by cursor, or path where there is none; the paid ones."""
    headers: list[dict[str, str]] = field(default_factory=list)
    lines: bytes = b""
    """What `/file.jsonl` has."""
    tag: str = '"one"'
    served: int = 0
    """Bytes of that file that were sent."""
    cut_at: list[int] = field(default_factory=list)
    """Bytes after which each of the next answers breaks off."""
    headers_next_door: list[dict[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """As `allow_hosts` takes it."""
        return self.base.removeprefix("http://")

    def source(self) -> list[dict[str, Any]]:
        """All records of the API that behaves."""
        return page_of(1, self.pages * PER_PAGE)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Whatever the path stands for."""
        cursor = request.query.get("cursor", "c1")
        self.headers.append(dict(request.headers))
        if request.path == "/file.jsonl":
            return await self._file(request)
        self.asked[cursor] += 1
        await asyncio.sleep(self.pause)
        if self.faults[cursor]:
            return await self._fault(self.faults[cursor].pop(0), request)
        return self._page(request.path, int(cursor[1:]))

    def _page(self, path: str, number: int) -> web.Response:
        items = page_of((number - 1) * PER_PAGE + 1)
        following: str | None = f"c{number + 1}" if number < self.pages else None
        if path == "/loop" and number == 4:
            following = "c2"
        elif path == "/endless":
            following = f"c{number + 1}"
        elif path == "/hollow":
            following, items = f"c{number + 1}", []
        elif path == "/plain":
            link = {"Link": f'</plain?cursor={following}>; rel="next"'} if following else {}
            return web.json_response(items, headers=link)
        elif path == "/linked":
            return web.json_response({"next": following and f"?cursor={following}", "meta": [1], "found": items})
        elif path == "/away":
            raise web.HTTPFound(f"{self.next_door}/x")
        elif path == "/mixed":
            items[3:4] = ["no object"]  # type: ignore[list-item]
        elif path == "/large":
            items[0]["text"] = "x" * 300_000
        elif path == "/nothing":
            return web.json_response({"error": "try later"})
        return web.json_response({"data": {"items": items}, "meta": {"cursor": following}})

    async def _fault(self, what: str, request: web.Request) -> web.StreamResponse:
        if what == "html":
            return web.Response(text="<!doctype html><p>Down for repairs", content_type="text/html")
        if what == "cut":
            return await _broken(request, b'{"data": {"items": [{"id"', 5000)
        after = {"Retry-After": "1"} if what == "429" else {}
        return web.Response(status=int(what), headers=after)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        asked = request.headers.get("Range", "")
        first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if request.headers.get("If-Range", self.tag) != self.tag:
            first = 0
        data, headers = self.lines[first:], {"ETag": self.tag, "Accept-Ranges": "bytes"}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(self.lines) - 1}/{len(self.lines)}"
        if self.cut_at:
            sent = data[: self.cut_at.pop(0)]
            self.served += len(sent)
            return await _broken(request, sent, len(data), 206 if first else 200, headers)
        self.served += len(data)
        return web.Response(body=data, status=206 if first else 200, headers=headers)

    async def answer_next_door(self, request: web.Request) -> web.Response:
        """Notes that it was asked."""
        self.headers_next_door.append(dict(request.headers))
        return web.json_response(page_of(1))


async def _broken(
    request: web.Request, begin: bytes, length: int, status: int = 200, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """An answer that says it is `length` long, and breaks off."""
    response = web.StreamResponse(status=status, headers={**(headers or {}), "Content-Length": str(length)})
    response.content_type = "application/json"
    await response.prepare(request)
    with suppress(ConnectionError):
        await response.write(begin)
        await asyncio.sleep(0.1)
        if request.transport:
            request.transport.close()
    return response


def json_lines(records: list[dict[str, Any]]) -> bytes:
    """Records as a file of lines."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


@contextmanager
def serve() -> Iterator[PagedApi]:
    """The API and the one next door, on ports of their own, in a thread."""
    api, loop = PagedApi(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> list[web.ServerRunner]:
        api.base, first = await _listen("127.0.0.1", api.answer)
        api.next_door, second = await _listen("127.0.0.2", api.answer_next_door)
        return [first, second]

    runners = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield api
    finally:
        for runner in runners:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _listen(host: str, answer: object) -> tuple[str, web.ServerRunner]:
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    return f"http://{host}:{runner.addresses[0][1]}", runner
