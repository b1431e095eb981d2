"""What lies behind an http URL: the file itself, or what yt-dlp finds there; politely, as far as a site wants it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from lodestream.children import Children
from lodestream.errors import Outage, Reject, Retry
from lodestream.job import Job
from lodestream.web import client
from lodestream.web.addresses import Allowed, allowed
from lodestream.web.sniff import named_as_video
from proto import ids
from proto.messages import Candidate
from services.fetch import direct, pages
from services.fetch.breaker import Breaker
from services.fetch.direct import Downloaded, Part
from services.fetch.kept import Beginning, Kept, sweeping
from services.fetch.pace import keeping_pace

FIRST_BYTE_S, FIRST_BYTE_OF_PAGE_S = 30.0, 90.0


class Web:
    """Connections, what broken ones brought, and which site wants to be left alone, for all jobs of a worker."""

    def __init__(self, children: Children, kept: Kept, stack: AsyncExitStack):
        self._children, self._kept, self._stack = children, kept, stack
        self._sessions: dict[Allowed, aiohttp.ClientSession] = {}
        self._breakers: dict[str, Breaker] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, children: Children, work: Path) -> AsyncIterator["Web"]:
        """`children` run `services.fetch.child`; temporary files lie under `work`."""
        kept = Kept(work)
        sweeper = asyncio.create_task(sweeping(kept))
        async with AsyncExitStack() as stack:
            stack.callback(sweeper.cancel)
            yield cls(children, kept, stack)

    async def download(self, candidate: Candidate, job: Job, path: Path) -> Downloaded:
        """The video as a file, at `path` or in a folder there. Raises Reject, Retry and Outage."""
        if (breaker := self._breakers.get(candidate.source)) is None:
            breaker = self._breakers[candidate.source] = Breaker(candidate.source, job.parts.troubles)
        while True:
            await breaker.closed(job)
            async with job.parts.leases.slot("host", candidate.source, job.settings.per_host, job.parked):
                with breaker.asking() as may:
                    if may:
                        return await self._ask(candidate, job, path)

    async def _ask(self, candidate: Candidate, job: Job, path: Path) -> Downloaded:
        # an id of a site's own says that yt-dlp knows the site: a file is not to be expected there
        if ids.is_web(candidate.id) and (got := await self._file(candidate, job, path)):
            return got
        return await self._page(candidate.url, job, path)

    async def _file(self, candidate: Candidate, job: Job, path: Path) -> Downloaded | None:
        """None where there is a page."""

        def worth(part: Part) -> None:
            if facts := part.facts(candidate.url):
                self._kept.begin(candidate.id, facts, path)

        with Part(path, job.settings.max_bytes, await self._begun(candidate, path), worth) as part:
            try:
                async with keeping_pace(job.attempt, job.report, FIRST_BYTE_S, part.size) as pace:
                    session = self._session(allowed(job.settings.allow_hosts))
                    got = await direct.download(session, candidate.url, part, job.attempt, pace)
                self._kept.forget(candidate.id)
                return got
            except direct.Page:
                path.unlink()
                return None
            except (Retry, asyncio.CancelledError):
                if facts := part.facts(candidate.url):
                    await asyncio.to_thread(self._kept.keep, candidate.id, facts, path)
                raise
            except Reject:
                self._kept.forget(candidate.id)
                raise
            except Outage:
                await asyncio.to_thread(self._kept.sweep, 0)
                raise

    async def _begun(self, candidate: Candidate, path: Path) -> Beginning | None:
        """What an attempt before this one brought."""
        if not self._kept.has(candidate.id):
            return None
        return await asyncio.to_thread(self._kept.take, candidate.id, candidate.url, path)

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
            session = client.session(allow)
            self._stack.push_async_callback(session.close)
            self._sessions[allow] = session
        return self._sessions[allow]
