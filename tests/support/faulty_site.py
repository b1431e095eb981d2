"""A web site on loopback with everything that can be wrong with one, and a second one that must never be reached."""

import asyncio
import contextlib
import gzip
import io
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache

import av
from aiohttp import web

from lodestream.demo.clips import Clip, cut, sound

HTML = "text/html"
PLAYLIST = "application/x-mpegurl"
MP4 = Clip("site")
TAIL_INDEX = Clip("site", faststart=False)


@cache
def clip(of: Clip) -> bytes:
    """Encoded once."""
    return of.encode()


def wide(width: int = 30_000, height: int = 16) -> bytes:
    """A video of two pictures that are far too wide."""
    out = io.BytesIO()
    with av.open(out, "w", format="mov") as container:
        stream = container.add_stream("mjpeg", rate=1, options={"strict": "unofficial"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame(width, height, "yuvj420p")))
        container.mux(stream.encode(None))
    return out.getvalue()


@dataclass
class FaultySite:
    """Both sites; `asked` and `reached` note who came."""

    port: int = 0
    inner_port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and Range header of each request to the outer site."""
    reached: list[str] = field(default_factory=list)
    """Requests to the inner site."""

    def url(self, path: str) -> str:
        """On the outer site; `{inner}` and `{here}` in `path` become addresses with ports."""
        filled = path.format(inner=f"127.0.0.2:{self.inner_port}", here=f"127.0.0.1:{self.port}", port=self.inner_port)
        return f"http://127.0.0.1:{self.port}{filled}" if filled.startswith("/") else filled

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request to the outer site."""
        self.asked.append((request.path, request.headers.get("Range", "")))
        name = request.path.strip("/")
        if name.isdecimal():
            return web.Response(status=int(name), headers={"Retry-After": "7"})
        return await _PAGES[name](self, request)

    async def reveal(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request to the inner site, which should not have come."""
        self.reached.append(str(request.url))
        return web.Response(body=clip(MP4), content_type="video/mp4")


Page = Callable[[FaultySite, web.BaseRequest], Awaitable[web.StreamResponse]]
_PAGES: dict[str, Page] = {}


def page(name: str) -> Callable[[Page], Page]:
    """Serves what is decorated under this name."""

    def put(handler: Page) -> Page:
        _PAGES[name] = handler
        return handler

    return put


def fixed(name: str, body: Callable[[], bytes | str], kind: str = "video/mp4", **headers: str) -> None:
    """Serves a body as it is."""

    async def answer(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
        data = body()
        return web.Response(
            body=data.encode() if isinstance(data, str) else data,
            headers={"Content-Type": kind, **{key.replace("_", "-"): value for key, value in headers.items()}},
        )

    _PAGES[name] = answer


async def stream(
    request: web.BaseRequest, parts: list[bytes], kind: str = "video/mp4", pause: float = 0.0, **headers: str
) -> web.StreamResponse:
    """Sends parts with a pause after each, then breaks the connection."""
    given = {"Content-Type": kind, **{key.replace("_", "-"): value for key, value in headers.items()}}
    response = web.StreamResponse(headers=given)
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for part in parts:
            await response.write(part)
            await asyncio.sleep(pause)
    if request.transport:
        request.transport.close()
    return response


fixed("ok.mp4", lambda: clip(MP4))
fixed("same.mp4", lambda: clip(MP4))
fixed("ok.webm", lambda: clip(Clip("site", container="webm", codec="libvpx-vp9")), "video/webm")
fixed("rotated.mp4", lambda: clip(Clip("site", rotation=90)))
fixed("mislabelled", lambda: clip(MP4), "application/octet-stream")
fixed("segment.ts", lambda: clip(Clip("site", container="mpegts")), "video/mp2t")
fixed("truncated.mp4", lambda: cut(clip(MP4)))
fixed("no-index.mp4", lambda: cut(clip(TAIL_INDEX)))
fixed("fragmented.mp4", lambda: clip(Clip("site", fragmented=True)))
fixed("wide.mov", wide)

fixed("fake.mp4", lambda: "<!doctype html><title>Sorry</title>")
fixed("page.mp4", lambda: "<html><title>Sorry</title></html>", HTML)
fixed("empty.mp4", lambda: "")
fixed("sound.m4a", sound, "audio/mp4")
fixed("sound.mp4", lambda: sound().replace(b"ftypM4A ", b"ftypisom"))
fixed("song.mp3", lambda: b"ID3" + bytes(400), "audio/mpeg")
fixed("picture.mp4", lambda: b"\xff\xd8\xff\xe0" + bytes(400))
fixed("text.txt", lambda: "only words", "text/plain")
fixed("data", lambda: '{"error": "no"}', "application/json")
fixed("junk.mp4", lambda: bytes((n * 7919 + 13) % 251 for n in range(4000)))
fixed("hollow.mp4", lambda: b"\0\0\0\x18ftypisom\0\0\0\0isomiso2" + bytes((n * 7919) % 251 for n in range(4000)))
fixed("encoded.mp4", lambda: gzip.compress(clip(MP4)), Content_Encoding="gzip")
fixed("bomb", lambda: gzip.compress(b"<html>" + bytes(64 << 20)), HTML, Content_Encoding="gzip")

fixed("page", lambda: "<html><title>One</title><video src=/ok.mp4></video></html>", HTML)
fixed("none", lambda: "<html><title>No video here</title></html>", HTML)
fixed("two", lambda: "<html><video src=/ok.mp4></video><video src=/ok.webm></video></html>", HTML)
fixed("hls.m3u8", lambda: _playlist("/segment.ts"), PLAYLIST)
fixed("playlist", lambda: _playlist("/segment.ts"), "video/x-mpegurl")
fixed("holes.m3u8", lambda: _playlist("/segment.ts", "/404", "/segment.ts"), PLAYLIST)


def _playlist(*segments: str, key: str = "") -> str:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:4", *([f'#EXT-X-KEY:METHOD=AES-128,URI="{key}"'] if key else [])]
    for segment in segments:
        lines += ["#EXTINF:4,", segment]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


@page("segment.m3u8")
async def _segment_elsewhere(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=_playlist("/segment.ts", request.query["u"]), content_type=PLAYLIST)


@page("key.m3u8")
async def _key_elsewhere(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=_playlist("/segment.ts", key=request.query["u"]), content_type=PLAYLIST)


@page("video")
async def _video_elsewhere(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=f"<html><video src={request.query['u']}></video></html>", content_type=HTML)


@page("to")
async def _redirect(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": request.query["u"]})


@page("loop")
async def _loop(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": f"/loop?n={int(request.query.get('n', 0)) + 1}"})


@page("endless.mp4")
async def _endless(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return await stream(request, [clip(MP4), *[bytes(1 << 20)] * 1000])


@page("endless")
async def _endless_page(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return await stream(request, [b"<html>", *[b"<p>" * 100_000] * 1000], HTML)


@page("big.mp4")
async def _big(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return await stream(request, [clip(MP4), *[bytes(1 << 20)] * 1000], Content_Length=str(100 << 30))


@page("claims-more.mp4")
async def _claims_more(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return await stream(request, [clip(MP4)], Content_Length=str(2 * len(clip(MP4))), ETag='"v1"')


@page("claims-less.mp4")
async def _claims_less(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return await stream(request, [clip(MP4)], Content_Length=str(len(clip(MP4)) // 2))


@page("breaks.mp4")
async def _breaks(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    """Breaks off in the middle, always, and says nothing by which the rest could be known."""
    data = clip(MP4)
    return await stream(request, [data[: len(data) // 2]], pause=0.05, Content_Length=str(len(data)))


@page("drip.mp4")
async def _drip(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    return await stream(request, [clip(MP4)[:16], *[b"x"] * 1000], pause=0.1, Content_Length="100000")


@page("silent.mp4")
async def _silent(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    await asyncio.sleep(600)
    return web.Response()


@page("resets.mp4")
async def _resets(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    """Breaks off after a fifth; goes on where it is asked to."""
    return await _part(request, clip(MP4), '"v1"', site.asked)


@page("aborts.mp4")
async def _aborts(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    """As `resets.mp4`, but rudely: what is under way is lost."""
    return await _part(request, clip(MP4), '"v1"', site.asked, rudely=True)


@page("changes.mp4")
async def _changes(site: FaultySite, request: web.BaseRequest) -> web.StreamResponse:
    """As `resets.mp4`, but after the first time it is another file."""
    first = len([1 for path, _ in site.asked if path == request.path]) == 1
    data = clip(MP4) if first else clip(Clip("site", seconds=3))
    return await _part(request, data, '"v1"' if first else '"v2"', site.asked)


async def _part(
    request: web.BaseRequest, data: bytes, tag: str, asked: list[tuple[str, str]], *, rudely: bool = False
) -> web.StreamResponse:
    begin = 0
    if request.headers.get("If-Range") == tag:
        begin = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
    end = min(len(data), begin + len(data) // 5 + 1)
    response = web.StreamResponse(status=206 if begin else 200, headers={"ETag": tag, "Content-Type": "video/mp4"})
    response.content_length = len(data) - begin
    if begin:
        response.headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
    await response.prepare(request)
    await response.write(data[begin:end])
    await asyncio.sleep(0.02)
    if end < len(data) and request.transport:
        if rudely:
            linger = struct.pack("ii", 1, 0)
            request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            request.transport.abort()
        request.transport.close()
    return response


def _runner(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> web.ServerRunner:
    return web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)


@asynccontextmanager
async def faulty_site() -> AsyncIterator[FaultySite]:
    """Serves the outer site on 127.0.0.1, the inner on another port of 127.0.0.1 and 127.0.0.2."""
    site = FaultySite()
    outer, inner = _runner(site.answer), _runner(site.reveal)
    for runner in (outer, inner):
        await runner.setup()
    await web.TCPSite(outer, "127.0.0.1", 0).start()
    await web.TCPSite(inner, "127.0.0.1", 0).start()
    site.port, site.inner_port = outer.addresses[0][1], inner.addresses[0][1]
    await web.TCPSite(inner, "127.0.0.2", site.inner_port).start()
    try:
        yield site
    finally:
        for runner in (outer, inner):
            await runner.cleanup()
