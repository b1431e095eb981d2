"""What lies behind an http URL: the file itself, or what yt-dlp finds there; politely, as far as a site wants it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from lodestream.children import Children
from lodestream.errors import Reject, Retry
from lodestream.job import Job
from lodestream.web.addresses import Allowed, allowed, socket_factory
from proto import ids
from proto.messages import Candidate
from services.fetch import direct, pages
from services.fetch.direct import Downloaded
from services.fetch.pace import keeping_pace
from services.fetch.sniff import named_as_video

HEADERS = {"User-Agent": "Mozilla/5.0 (compatible; Lodestream)", "Accept": "*/*", "Accept-Encoding": "identity"}
CONNECT_S = 15
FIRST_BYTE_S, FIRST_BYTE_OF_PAGE_S = 30.0, 90.0
LONGEST_COOLING_S = 120.0


class Web:
    """Connections, and which site wants to be left alone, for all jobs of a worker."""

    def __init__(self, children: Children, stack: AsyncExitStack):
        self._children, self._stack = children, stack
        self._sessions: dict[Allowed, aiohttp.ClientSession] = {}
        self._cool: dict[str, float] = {}
        """When a site that has had enough of us may be asked again."""

    @classmethod
    @asynccontextmanager
    async def open(cls, children: Children) -> AsyncIterator["Web"]:
        """`children` run `services.fetch.child`."""
        async with AsyncExitStack() as stack:
            yield cls(children, stack)

    async def download(self, candidate: Candidate, job: Job, path: Path) -> Downloaded:
        """The video as a file, at `path` or in a folder there. Raises Reject, Retry and Outage."""
        async with job.parts.leases.slot("host", candidate.source, job.settings.per_host):
            await self._cooled(candidate.source)
            try:
                # an id of a site's own says that yt-dlp knows the site: a file is not to be expected there
                if ids.is_web(candidate.id) and (got := await self._file(candidate.url, job, path)):
                    return got
                return await self._page(candidate.url, job, path)
            except Retry as why:
                if why.reason == "rate limited" and why.after:
                    self._cool[candidate.source] = asyncio.get_running_loop().time() + why.after
                raise

    async def _cooled(self, source: str) -> None:
        """Wait, keeping the slot, until the site may be asked again."""
        left = self._cool.get(source, 0.0) - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(min(left, LONGEST_COOLING_S))
        else:
            self._cool.pop(source, None)

    async def _file(self, url: str, job: Job, path: Path) -> Downloaded | None:
        """None where there is a page."""
        session = self._session(allowed(job.settings.allow_hosts))
        try:
            async with keeping_pace(job.attempt, job.report, FIRST_BYTE_S) as pace:
                return await direct.download(session, url, path, job.settings.max_bytes, job.attempt, pace)
        except direct.Page:
            path.unlink()
            return None

    async def _page(self, url: str, job: Job, path: Path) -> Downloaded:
        path.mkdir()
        asked = {
            "url": url,
            "max_height": job.settings.max_height,
            "max_bytes": int(job.settings.max_bytes),
            "max_duration": float(job.settings.max_duration),
            "allow_hosts": job.settings.allow_hosts,
        }
        try:
            async with keeping_pace(job.attempt, job.report, FIRST_BYTE_OF_PAGE_S) as pace:
                return await pages.download(self._children, asked, path, job.attempt, pace)
        except Reject as no:
            if no.reason in ("unsupported", "not a video") and named_as_video(url):
                raise Reject("fake", f"a page and no video: {no.detail}") from None
            raise

    def _session(self, allow: Allowed) -> aiohttp.ClientSession:
        if allow not in self._sessions:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, socket_factory=socket_factory(allow)),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                headers=HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
            self._stack.push_async_callback(session.close)
            self._sessions[allow] = session
        return self._sessions[allow]
