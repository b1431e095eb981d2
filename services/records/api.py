"""Asks a web API, politely: paced, each failure tried again where that may help, its key shown to nobody else."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from urllib.parse import urljoin

import aiohttp
import msgspec

from lodestream.errors import ATTEMPTS
from lodestream.job import Job
from lodestream.letters import now
from lodestream.web import client
from lodestream.web.addresses import Allowed, allowed
from lodestream.web.verdicts import COOL, Verdict, by_status
from services.records.credentials import Key, api_key
from services.records.page import Page
from services.records.waiting import wait

LARGEST = 16 << 20
"""Bytes of one page."""
SILENCE_S, WHOLE_S = 60.0, 300.0
"""Seconds without a byte, and for all of a page."""
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=client.CONNECT_S, sock_read=SILENCE_S)
LONGEST_WAIT_S = 900.0
"""Seconds that a worker waits because a server asks for it; longer waits are the engine's."""


class Failed(Exception):
    """A request that came to nothing, however often it was tried."""

    def __init__(self, verdict: Verdict):
        super().__init__(f"{verdict.reason}: {verdict.detail}")
        self.verdict = verdict


TROUBLE = (Failed, aiohttp.ClientError, TimeoutError, ValueError)
"""What asking raises."""


class Web:
    """The connections of a worker, and when each host may be asked again."""

    def __init__(self) -> None:
        self._sessions: dict[Allowed, aiohttp.ClientSession] = {}
        self._free: dict[str, float] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["Web"]:
        """Closed at the end."""
        web = cls()
        try:
            yield web
        finally:
            for session in web._sessions.values():
                await session.close()

    def session(self, allow: Allowed) -> aiohttp.ClientSession:
        """The session that may dial these addresses."""
        if allow not in self._sessions:
            self._sessions[allow] = client.session(allow)
        return self._sessions[allow]

    async def turn(self, host: str, interval: float) -> None:
        """Wait until the host may be asked again: `interval` seconds after the request before."""
        clock = asyncio.get_running_loop().time
        at = max(clock(), self._free.get(host, 0.0))
        self._free[host] = at + interval
        await asyncio.sleep(at - clock())


class Api:
    """One collection's requests."""

    def __init__(self, web: Web, job: Job):
        """Raises Malformed where the node's key cannot be read."""
        self._web, self._job, self._settings = web, job, job.settings
        settings = self._settings
        self._session = web.session(allowed(settings.allow_hosts))
        self._key = api_key(settings.auth) if settings.auth else Key()

    async def page(self, url: str) -> Page:
        """One page of JSON, asked for until it comes. Raises Failed."""
        for attempt in count(1):
            try:
                return await self._page(url)
            except TROUBLE as error:
                await self.pause(url, error, attempt)
        raise AssertionError("unreachable")

    async def pause(self, url: str, error: Exception, attempt: int) -> None:
        """Wait before the next attempt, or as long as the server wants. Raises Failed where no other may help."""
        verdict = error.verdict if isinstance(error, Failed) else client.verdict(error)
        final = verdict.kind in ("reject", "bug") or (verdict.kind == "once" and attempt > 1)
        pause = verdict.after
        if pause is None:
            pause = (COOL if verdict.kind == "later" else 1.0) * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
        if final or attempt >= ATTEMPTS or pause > LONGEST_WAIT_S:
            raise Failed(verdict) from None
        await wait(self._job, client.as_written(url).host or "", attempt, Failed(verdict), pause)

    async def _page(self, url: str) -> Page:
        await self.turn(url)
        async with asyncio.timeout(WHOLE_S), self.get(url) as response:
            body = bytearray()
            async for data in response.content.iter_any():
                body += data
                if len(body) > LARGEST:
                    raise Failed(Verdict("reject", "too big", f"a page of over {LARGEST >> 20} MiB"))
            following = response.links.get("next")
            link = str(following["url"]) if following else ""
            return Page(url=str(response.url), at=now(), link=link, body=_json(bytes(body), response))

    async def turn(self, url: str) -> None:
        """Wait until the site may be asked again."""
        await self._web.turn(client.as_written(url).host or "", float(self._settings.min_interval))

    @asynccontextmanager
    async def get(self, url: str, headers: dict[str, str] | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer of status 2xx, redirects followed. Raises Failed and what aiohttp raises."""
        for _ in range(client.REDIRECTS):
            target = client.as_written(url)
            if target.scheme not in ("http", "https"):
                raise Failed(Verdict("reject", "scheme", f"not http: {url[:80]}"))
            sent = {**(headers or {}), **self._key.sent_to(target)}
            async with self._session.get(target, headers=sent, allow_redirects=False, timeout=TIMEOUT) as response:
                if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                    url = urljoin(url, response.headers["Location"])
                    continue
                _check(response)
                yield response
                return
        raise Failed(Verdict("reject", "redirect loop", f"over {client.REDIRECTS} redirects"))


def _check(response: aiohttp.ClientResponse) -> None:
    """Raises Failed where the answer is none."""
    if response.status not in (200, 206):
        if response.status >= 400:
            raise Failed(by_status(response.status, response.headers.get("Retry-After")))
        raise Failed(Verdict("reject", "refused", f"HTTP {response.status}"))
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", ""):
        raise Failed(Verdict("reject", "unsupported", f"Content-Encoding {encoding[:40]}"))


def _json(body: bytes, response: aiohttp.ClientResponse) -> str:
    try:
        msgspec.json.decode(body)
        return body.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = f"sent as {response.content_type}, begins with {body[:40]!r}"
        raise Failed(Verdict("once", "not JSON", said)) from None
