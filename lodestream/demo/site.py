"""The demo's web site: served on loopback, always on the same port, every answer counted."""

import asyncio
import mimetypes
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from lodestream.demo.pages import CLIPS, PLAYLIST_CLIP, write_site
from lodestream.errors import LodeError
from lodestream.local.home import write_whole
from proto import ids

HOST = "127.0.0.1"
PORTS = range(8640, 8740)
"""Where a free port is looked for, the first time."""
_TYPES = {".ts": "video/mp2t", ".m3u8": "application/vnd.apple.mpegurl", ".xml": "application/rss+xml"}
_EDITION = ids.digest(repr((CLIPS, PLAYLIST_CLIP)).encode(), 4)
"""Files of other clips than these are not served."""


class Site:
    """A running site: where it is, and what it was asked for."""

    def __init__(self, files: Path):
        self.base = ""
        """`http://127.0.0.1:8640`"""
        self.hits: Counter[str] = Counter()
        """Requests answered with a body, by path."""
        self.sent = 0
        """Bytes of those bodies."""
        self.files = files.resolve()

    @property
    def address(self) -> str:
        """`127.0.0.1:8640`, as `allow_hosts` takes it."""
        return self.base.removeprefix("http://")

    def url(self, path: str) -> str:
        """The whole URL of one of its paths."""
        return self.base + path

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The file at a path, ranges and all; 404 where there is none."""
        file = (self.files / request.match_info["path"]).resolve()
        if not file.is_relative_to(self.files) or not file.is_file():
            raise web.HTTPNotFound
        if request.method == "GET":
            self.hits[request.path] += 1
            self.sent += file.stat().st_size
        kind = _TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return web.FileResponse(file, headers={"Content-Type": kind})


@asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[Site]:
    """The site, up until the block ends. Its port is kept in `folder`, because a video's id is a digest of its URL."""
    site = Site(files_in(folder))
    application = web.Application()
    application.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        site.base = f"http://{HOST}:{await _listen(runner, folder / 'site.json')}"
        await asyncio.to_thread(write_site, site.files, site.base)
        yield site
    finally:
        await runner.cleanup()


def files_in(folder: Path) -> Path:
    """Where the site's files lie in its folder."""
    return folder / f"site-{_EDITION}"


async def _listen(runner: web.AppRunner, kept: Path) -> int:
    """The port that was had before, else the first free one. Raises LodeError where there is none."""
    if kept.exists():
        port = int(msgspec.json.decode(kept.read_bytes())["port"])
        if await _bind(runner, port):
            return port
        raise LodeError(
            f"port {port}, which the demo's site had here before, is taken: "
            "stop what listens there, or run the demo in another LODE_HOME"
        )
    for port in PORTS:
        if await _bind(runner, port):
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, msgspec.json.encode({"port": port}))
            return port
    raise LodeError(f"no free port from {PORTS.start} to {PORTS.stop - 1} for the demo's site")


async def _bind(runner: web.AppRunner, port: int) -> bool:
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError:
        return False
    return True
