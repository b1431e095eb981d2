"""A web site that lists videos in every way, well and badly, on loopback; and one next door that nobody may ask."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

PAGE = 20
"""Clips that the API gives at once."""
BIG = 1000
FLAKY_FROM = 4
"""The page on which `flaky` begins to fail."""

ONE = '<!doctype html><title>One</title><video src="/clips/one.mp4"></video>'
THREE = """<!doctype html><title>Three</title><video src="/clips/a.mp4"></video>
<video><source src="/clips/b.webm" type="video/webm"><source src="/clips/b.mp4" type="video/mp4"></video>
<video src="clips/c.mp4?utm_source=x"></video><video src="/clips/a.mp4"></video><audio src="/clips/d.mp3"></audio>
"""
EMBED = '<!doctype html><title>Embed</title><iframe src="{base}/watch/abc"></iframe>'
RSS = """<?xml version="1.0"?>
<rss version="2.0" xmlns:media="http://search.yahoo.com/mrss/" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd">
<channel><title>Films</title><link>{base}/</link>
<item><title>File &amp; all</title><link>{base}/one.html</link><author>Ann</author>
  <pubDate>Sat, 31 Jan 2026 12:00:00 GMT</pubDate><itunes:duration>1:05</itunes:duration>
  <enclosure url="/clips/one.mp4" type="video/mp4" length="1"/></item>
<item><title>Page</title><link>{base}/page.html</link></item>
<item><title>Sizes</title><media:group>
  <media:content url="{base}/clips/small.mp4" type="video/mp4" height="180"/>
  <media:content url="{base}/clips/large.mp4" type="video/mp4" height="720"/></media:group></item>
<item><title>Talk</title><link>{base}/talk.html</link><enclosure url="{base}/talk.mp3" type="audio/mpeg"/></item>
<item><title>Known site</title><link>{base}/watch/abc</link><enclosure url="{base}/x.mp4" type="video/mp4"/></item>
<item><title>Nothing</title></item>
</channel></rss>
"""
ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>Films</title><id>x</id>
<entry><title>File</title><id>1</id><updated>2026-01-31T12:00:00Z</updated><link href="{base}/page.html"/>
  <link rel="enclosure" type="video/mp4" href="{base}/clips/atom.mp4"/></entry>
<entry><title>Page</title><id>2</id><link href="page.html"/></entry>
</feed>
"""
LIST = """# clips
{base}/clips/one.mp4

{base}/clips/two.mp4?utm_source=x
{base}/watch/abc
not a URL
{base}/channel/small/videos
"""
PAGES = {
    "/one.html": ("text/html", ONE),
    "/three.html": ("text/html", THREE),
    "/embed.html": ("text/html", EMBED),
    "/none.html": ("text/html", "<!doctype html><title>None</title><p>Nothing here</p>"),
    "/feed.xml": ("application/rss+xml", RSS),
    "/torn.xml": ("application/rss+xml", RSS[: RSS.index("<item><title>Talk")]),
    "/atom": ("text/xml", ATOM),
    "/list.txt": ("text/plain", LIST),
    "/clips/one": ("video/mp4", "not looked at"),
}


@dataclass
class ListingSite:
    """A running site."""

    base: str = ""
    """`http://127.0.0.1:40123`"""
    next_door: str = ""
    """The same on 127.0.0.2, which no test allows."""
    asked: list[str] = field(default_factory=list)
    """Path and query of each request."""
    asked_next_door: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """As `allow_hosts` takes it."""
        return self.base.removeprefix("http://")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Whatever the path stands for."""
        self.asked.append(request.path_qs)
        if request.path in PAGES:
            kind, body = PAGES[request.path]
            return web.Response(text=body.replace("{base}", self.base), content_type=kind)
        if request.path.startswith("/api/"):
            return await self._api(request, *request.path.split("/")[2:4])
        if request.path == "/to":
            raise web.HTTPFound(request.query["u"])
        if request.path.startswith("/endless"):
            return await _endless(request)
        raise web.HTTPNotFound

    async def _api(self, request: web.Request, name: str, tab: str) -> web.Response:
        """One page of a channel or a search; `name` says how it behaves."""
        page = int(request.query["page"])
        if name == "flaky" and page >= FLAKY_FROM:
            return web.Response(status=503, headers={"Retry-After": "7"})
        while name == "silent" and page > 1 and request.transport:
            await asyncio.sleep(0.05)
        last = {"big": BIG // PAGE, "flaky": 99, "small": 1, "gone": 0, "hollow": 0}.get(name, 10**9)
        if name == "gone":
            raise web.HTTPNotFound
        first = 0 if name == "circle" else (page - 1) * PAGE
        clips = [] if name in ("hollow", "nothing") else [self._clip(f"{name}-{tab}-{first + n}") for n in range(PAGE)]
        return web.json_response({"clips": clips, "next": page + 1 if page < last else None})

    def _clip(self, name: str) -> dict[str, object]:
        more = {"duration": 12, "view_count": 3, "uploader": "Ann", "timestamp": 1769860800}
        return {"id": name, "url": f"{self.base}/watch/{name}", "more": {"video_title": f"Clip {name}", **more}}

    async def answer_next_door(self, request: web.Request) -> web.Response:
        """Notes that it was asked."""
        self.asked_next_door.append(request.path_qs)
        return web.Response(text=ONE, content_type="text/html")


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/xml"})
    await response.prepare(request)
    await response.write(RSS.partition("<item>")[0].encode())
    with suppress(ConnectionError):
        while True:
            await response.write(b"<item><link>http://example.com/</link></item>" * 1000)
    return response


@contextmanager
def serve() -> Iterator[ListingSite]:
    """Both sites, on ports of their own, in a thread."""
    site, loop = ListingSite(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> list[web.ServerRunner]:
        site.base, first = await _listen("127.0.0.1", site.answer)
        site.next_door, second = await _listen("127.0.0.2", site.answer_next_door)
        return [first, second]

    runners = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield site
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
