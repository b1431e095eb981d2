"""Web hosts on loopback that do as a test says, and note what they are asked for and what they send."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from lodestream.demo.clips import Clip
from proto.messages import Candidate
from tests.support.faulty_site import clip


@dataclass
class Host:
    """One host; its files are videos, each with bytes of its own."""

    name: str
    port: int = 0
    answer: Callable[["Host", web.BaseRequest], Awaitable[web.StreamResponse]] | None = None
    """What it does instead of serving the file."""
    asked: list[str] = field(default_factory=list)
    """Path of each request."""
    ranges: list[str] = field(default_factory=list)
    """Range header of each request, empty where there was none."""
    sent: int = 0
    """Bytes of bodies."""
    inside: int = 0
    most: int = 0
    """Requests at once."""

    def candidate(self, number: int) -> Candidate:
        """A video of this host."""
        url = f"http://127.0.0.1:{self.port}/{number}.mp4"
        return Candidate(id=f"web-{self.name}{number}", url=url, source=self.name, seed="s")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request."""
        self.asked.append(request.path)
        self.ranges.append(request.headers.get("Range", ""))
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            return await (self.answer or Host.whole)(self, request)
        finally:
            self.inside -= 1

    async def hang(self) -> None:
        """Say nothing more, and keep the connection."""
        await asyncio.sleep(600)

    async def whole(self, request: web.BaseRequest) -> web.StreamResponse:
        """The file."""
        return await self.part(request, video(f"{self.name}{request.path}"))

    async def part(
        self, request: web.BaseRequest, data: bytes, *, tag: str = '"v1"', stop: int | None = None
    ) -> web.StreamResponse:
        """A file as a good server sends it, from where it is asked for; breaks off at byte `stop`."""
        begin = 0
        if request.headers.get("If-Range") == tag:
            begin = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        headers = {"ETag": tag, "Content-Type": "video/mp4"}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        response = web.StreamResponse(status=206 if begin else 200, headers=headers)
        response.content_length = len(data) - begin
        await response.prepare(request)
        body = data[begin:stop]
        await response.write(body)
        self.sent += len(body)
        if stop is not None and request.transport:
            await asyncio.sleep(0.1)  # for what was written to leave
            request.transport.close()
        return response


async def busy(host: Host, request: web.BaseRequest) -> web.StreamResponse:
    """503 to everything."""
    return web.Response(status=503)


def video(what: str, size: int = 0) -> bytes:
    """A clip with a last box that no demuxer reads, filled with `what`; of `size` bytes where that is given."""
    data = clip(Clip("site"))
    filling = what.encode() * (max(0, size - len(data) - 8) // len(what.encode()) + 1)
    filling = filling[: size - len(data) - 8] if size else filling
    return data + (8 + len(filling)).to_bytes(4, "big") + b"free" + filling


@asynccontextmanager
async def hosts(*names: str) -> AsyncIterator[list[Host]]:
    """Hosts that serve."""
    made = [Host(name) for name in names]
    runners = [web.ServerRunner(web.Server(host.handle), shutdown_timeout=0.1) for host in made]
    try:
        for host, runner in zip(made, runners, strict=True):
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host.port = runner.addresses[0][1]
        yield made
    finally:
        for runner in runners:
            await runner.cleanup()
