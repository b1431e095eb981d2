"""Hundreds of small distinct videos on loopback, every request counted, and told apart from those that should not be.

A few short clips are encoded; a box behind the last frame makes a file of its own of each copy. Every picture carries
its number, so that each frame that comes out can be checked against the clip that it was drawn from.
"""

import asyncio
import contextlib
import json
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import urljoin

from aiohttp import web

from lodestream.demo.clips import Clip, cut
from lodestream.web.identity import identify

PLAIN = tuple(
    Clip(f"p{n}", seconds=2 + n % 3, fps=(10, 12, 15)[n % 3], width=(160, 192)[n % 2], height=96, bframes=n % 3, gop=20)
    for n in range(12)
)
WEB = tuple(
    Clip(f"w{n}", seconds=2, fps=10, width=160, height=96, codec="libvpx-vp9", container="webm") for n in range(2)
)
TORN = Clip("torn", seconds=4, fps=12, width=192, height=96, gop=12)
STREAM = Clip("stream", seconds=3, fps=10, width=160, height=96, gop=10)
"""Its playlists differ, its segments do not: each has them under a name of its own."""
VIDEO_TYPE = "video/mp4"
CHUNK, PAUSE = 4096, 0.01
"""Bytes and seconds: a download takes long enough to be killed in its middle."""
_NO_VIDEO = b"<!doctype html><title>Sign in</title><p>Please sign in to watch this video.</p>\n"
_FEED = '<?xml version="1.0"?><rss version="2.0"><channel><title>f</title><link>{base}/</link>{items}</channel></rss>'
_ITEM = '<item><title>Item {n}</title><enclosure url="{url}" type="video/mp4" length="1"/></item>'
PAGES, ON_A_PAGE = "/prices/{}.json", 5
"""Pages of records, each of which leads to the next, and how many are on one."""
SHARES = {"torn": 0.05, "copy": 0.06, "fake": 0.03, "gone": 0.03, "empty": 0.01, "page": 0.02, "stream": 0.02}
"""Of all videos; the rest are whole files."""


@dataclass(frozen=True)
class Video:
    """One URL that is published, and what lies behind it."""

    path: str
    kind: str
    clip: Clip | None
    """What its frames show; None where no frame may come of it."""


@cache
def encoded(clip: Clip) -> bytes:
    """The clip's file; encoded once."""
    return clip.encode()


@cache
def segments() -> dict[str, bytes]:
    """The playlist of a stream and its segments, by name."""
    return STREAM.hls(1.0)


def _told_apart(mp4: bytes, number: int) -> bytes:
    """The same video in other bytes: players pass over a `free` box."""
    return mp4 + struct.pack(">I4sQ", 16, b"free", number)


def _page(number: int, last: bool) -> bytes:
    """A page of records: some of them are on the page before it as well."""
    first = number * (ON_A_PAGE - 1)
    items = [{"sku": f"s-{n}", "price": n * 7 % 100} for n in range(first, first + ON_A_PAGE)]
    return json.dumps({"items": items, "next": None if last else PAGES.format(number + 1)}).encode()


def _videos(count: int) -> Iterator[Video]:
    for kind, share in SHARES.items():
        for n in range(max(1, round(count * share))):
            clip = {"torn": TORN, "page": PLAIN[n % len(PLAIN)], "stream": STREAM}.get(kind)
            suffix = {"page": ".html", "stream": "/index.m3u8"}.get(kind, ".mp4")
            yield Video(f"/{kind}/{n}{suffix}", kind, clip)
    yield from (Video(f"/web/{n}.webm", "web", clip) for n, clip in enumerate(WEB))


@dataclass
class SmallSite:
    """The site: what it serves, and what it was asked for."""

    count: int
    base: str = ""
    videos: list[Video] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    """Requests by path."""
    whole: Counter[str] = field(default_factory=Counter)
    """Bodies that were sent to their end, by path."""
    needless: list[str] = field(default_factory=list)
    """Paths of videos that were asked for although they were stored already."""
    is_stored: Callable[[str], bool] = lambda media_id: False
    """Whether a video's file is in the object store at this moment."""
    _bodies: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    _ids: dict[str, str] = field(default_factory=dict)

    def fill(self) -> None:
        """Make every page and video."""
        others = list(_videos(self.count))
        plain = [Video(f"/v/{n}.mp4", "plain", PLAIN[n % len(PLAIN)]) for n in range(max(1, self.count - len(others)))]
        self.videos = [*plain, *others]
        for number, video in enumerate(self.videos):
            self._put(number, video)
        self._ids = {video.path: identify(self.base + video.path)[0] for video in self.videos}
        listed = [video for video in plain if video in self.in_feed()]
        items = "".join(_ITEM.format(n=n, url=self.base + video.path) for n, video in enumerate(listed))
        pages = max(4, self.count // 5)
        for number in range(pages):
            self._bodies[PAGES.format(number)] = _page(number, number + 1 == pages), "application/json"
        self._bodies["/feed.xml"] = _FEED.format(base=self.base, items=items).encode(), "application/rss+xml"

    def in_feed(self) -> list[Video]:
        """The videos that only the feed leads to."""
        return [video for video in self.videos if video.kind == "plain"][::4]

    def clips(self) -> dict[str, Clip]:
        """What the frames of each video show, by its media id."""
        return {self._ids[video.path]: video.clip for video in self.videos if video.clip}

    def clear(self) -> None:
        """Forget what was asked for."""
        self.hits.clear()
        self.whole.clear()
        self.needless.clear()

    def _put(self, number: int, video: Video) -> None:
        name = video.path
        if video.kind == "plain":
            assert video.clip
            self._bodies[name] = _told_apart(encoded(video.clip), number), VIDEO_TYPE
        elif video.kind == "web":
            assert video.clip
            self._bodies[name] = encoded(video.clip), "video/webm"
        elif video.kind == "torn":
            self._bodies[name] = cut(encoded(TORN), 0.5 + 0.4 * (number % 97) / 97), VIDEO_TYPE
        elif video.kind == "copy":
            self._bodies[name] = self._bodies[f"/v/{int(name.split('/')[2][:-4])}.mp4"]
        elif video.kind == "fake":
            self._bodies[name] = _NO_VIDEO, VIDEO_TYPE
        elif video.kind == "empty":
            self._bodies[name] = b"", VIDEO_TYPE
        elif video.kind == "page":
            assert video.clip
            self._bodies[name] = f'<html><title>Page {number}</title><video src="/shown/{number}.mp4">'.encode(), ""
            self._bodies[f"/shown/{number}.mp4"] = _told_apart(encoded(video.clip), number), VIDEO_TYPE
        elif video.kind == "stream":
            self._put_stream(number, name)

    def _put_stream(self, number: int, name: str) -> None:
        """A padding packet, which demuxers pass over, makes the last segment one of its own."""
        playlist = ""
        for file, data in segments().items():
            if file.endswith(".m3u8"):
                playlist = data.decode()
        for file in (f for f in segments() if not f.endswith(".m3u8")):
            own = segments()[file] + b"\x47\x1f\xff\x10" + number.to_bytes(184, "big")
            self._bodies[urljoin(name, file)] = own, "video/mp2t"
        self._bodies[name] = playlist.encode(), "application/vnd.apple.mpegurl"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        path = request.path
        self.hits[path] += 1
        if (ident := self._ids.get(path)) and self.is_stored(ident):
            self.needless.append(path)
        if path not in self._bodies:
            raise web.HTTPNotFound
        body, kind = self._bodies[path]
        response = web.StreamResponse(headers={"Content-Type": kind or "text/html", "ETag": f'"{len(body)}"'})
        response.content_length = len(body)
        with contextlib.suppress(ConnectionError):  # whoever asked was killed
            await response.prepare(request)
            for start in range(0, len(body), CHUNK):
                await response.write(body[start : start + CHUNK])
                await asyncio.sleep(PAUSE)
            await response.write_eof()
            self.whole[path] += 1
        return response


@asynccontextmanager
async def small_site(count: int) -> AsyncIterator[SmallSite]:
    """The site with `count` videos, on a port of its own, up until the block ends."""
    site = SmallSite(count)
    application = web.Application()
    application.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        site.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await asyncio.to_thread(site.fill)
        yield site
    finally:
        await runner.cleanup()
