"""Plain files over HTTP: one request, judged by its headers and first bytes, resumed where the connection breaks."""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import aiohttp

from lodestream.errors import Outage, Reject, Retry
from lodestream.web import client
from lodestream.web.sniff import HEAD, named_as_video, sniff
from lodestream.web.verdicts import by_status
from services.fetch.kept import LEAST, Beginning, Facts
from services.fetch.pace import Pace
from services.fetch.stored import NOTHING, Told

RESUMES, STEP = 6, 1 << 20
"""Times that a broken connection is made again within one attempt; such as bring STEP bytes are not counted."""
DRY = 2
"""Resumes in a row that bring nothing, after which the attempt is over."""
LAST_ATTEMPTS = 3
"""From this attempt on, what came of a file is kept where the rest cannot be had."""
SMALL = 64 << 10
"""Bytes of a file that is read to its end though it is no video."""
_BROKEN = (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)\Z")


class Page(Exception):
    """Not a file but something that leads to one: HTML or a playlist, for yt-dlp to read."""


class NoVideo(Reject):
    """A no to a small file by its first bytes; `data` is all of it."""

    def __init__(self, no: Reject, data: bytes):
        super().__init__(no.reason, no.detail, lasting=no.lasting)
        self.data = data


@dataclass(frozen=True)
class Downloaded:
    """A file that came from somewhere."""

    path: Path
    sha256: str
    bytes: int
    told: Told = NOTHING


class Part:
    """The file as far as it has come."""

    def __init__(
        self, path: Path, max_bytes: int, begun: Beginning | None = None, worth: Callable[["Part"], None] | None = None
    ):
        """`begun` is what is at `path` already; `worth` is called once LEAST bytes of a version have come."""
        self.path, self.max_bytes, self._worth, self._said = path, max_bytes, worth, ""
        self.validator = begun.facts.validator if begun else None
        """Strong ETag or Last-Modified: without one nobody can tell whether the rest is of the same file."""
        self.total = begun.facts.total if begun else None
        self.size, self.hash = (begun.size, begun.hash) if begun else (0, hashlib.sha256())
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (0 if begun else os.O_TRUNC), 0o600)
        os.lseek(self._fd, self.size, os.SEEK_SET)

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._fd)

    def write(self, data: bytes) -> None:
        """Raises Reject past the limit, Outage where there is no room."""
        self.size += len(data)
        if self.size > self.max_bytes:
            raise Reject("too big", f"over {self.max_bytes} bytes", lasting=False)
        self.hash.update(data)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Outage(f"no room left in {self.path.parent}: free some space") from None
            raise
        if self._worth and self.validator and self.validator != self._said and self.size >= LEAST:
            self._said = self.validator
            self._worth(self)

    def restart(self) -> None:
        """From the first byte again."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.size, self.hash = 0, hashlib.sha256()

    def facts(self, url: str) -> Facts | None:
        """What the rest can be asked for with, later; None where it cannot."""
        return Facts(url, self.validator, self.total) if self.validator else None

    def done(self, damage: str = "") -> Downloaded:
        """What came."""
        return Downloaded(self.path, self.hash.hexdigest(), self.size, Told(damage=damage))


async def download(session: aiohttp.ClientSession, url: str, part: Part, attempt: int, pace: Pace) -> Downloaded:
    """The file at `url`, whole, or with `damage` where the server has no more of it; goes on from what `part` has.

    Raises Page where it is none; Reject, Retry and Outage.
    """
    dry, left = 0, RESUMES
    while part.size != part.total:  # whoever was killed may have had all of it
        before = part.size
        try:
            await _transfer(session, url, part, attempt, pace)
            break
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise client.verdict(error).error(attempt) from None
        except _BROKEN as error:
            broke = f"broke off at {part.size} of {part.total or 'unknown'} bytes"
            dry = 0 if part.size > before else dry + 1
            left = RESUMES if part.size - before >= STEP else left - 1
            if part.size and attempt >= LAST_ATTEMPTS and (dry == DRY or not part.validator):
                return part.done(f"the server {broke}")
            if not part.validator or dry == DRY or left < 0:
                raise Retry("network", f"{broke} ({type(error).__name__})") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise client.verdict(error).error(attempt) from None
        await asyncio.sleep(0.2 * 2**dry)
    return part.done()


async def _transfer(session: aiohttp.ClientSession, url: str, part: Part, attempt: int, pace: Pace) -> None:
    headers = {"Range": f"bytes={part.size}-", "If-Range": part.validator} if part.size and part.validator else {}
    async with session.get(client.as_written(url), headers=headers, max_redirects=client.REDIRECTS) as response:
        _look_at_headers(response, part, attempt)
        if part.size == 0:
            head = await _head(response)
            try:
                _look_at_head(head, response, url)
            except Reject as no:
                raise await _known_whole(no, head, response) from None
            part.write(head)
        async for data, _ in response.content.iter_chunks():  # as they come: `iter_any` copies them into one
            part.write(data)
            pace.got(part.size, part.total)


def _look_at_headers(response: aiohttp.ClientResponse, part: Part, attempt: int) -> None:
    """Raises what the status, the encoding and the length say; sets what is known of the file."""
    headers = response.headers
    if response.status >= 400:
        if response.status == 416:  # it has become shorter
            part.restart()
        raise by_status(response.status, headers.get("Retry-After")).error(attempt)
    if headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        if "html" in response.content_type:
            raise Page
        raise Reject("unsupported", f"Content-Encoding {headers['Content-Encoding'][:40]}")
    if part.size and not _goes_on(response, part):
        part.restart()
    length = response.content_length
    part.total = None if length is None else part.size + length
    if part.total and part.total > part.max_bytes:
        raise Reject("too big", f"{part.total} bytes, over {part.max_bytes}", lasting=False)
    tag = headers.get("ETag", "")
    part.validator = tag if tag.startswith('"') else headers.get("Last-Modified")
    if headers.get("Accept-Ranges") == "none":
        part.validator = None


def _goes_on(response: aiohttp.ClientResponse, part: Part) -> bool:
    """Whether this is the rest of the same file; False where it is a whole one. Raises Retry where it is neither."""
    if response.status != 206:
        return False
    given = _RANGE.match(response.headers.get("Content-Range", ""))
    if not given or int(given[1]) != part.size or (part.total and given[2] not in ("*", str(part.total))):
        said = f"asked for bytes from {part.size}, got {response.headers.get('Content-Range')}"
        part.restart()
        raise Retry("network", said)
    return True


async def _head(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.content.readexactly(HEAD)
    except asyncio.IncompleteReadError as short:
        return short.partial


async def _known_whole(no: Reject, head: bytes, response: aiohttp.ClientResponse) -> Reject:
    """The same no, with the whole file where that is small: its bytes may be known as a placeholder's."""
    if not head or (response.content_length or 0) > SMALL:
        return no
    data = head
    with contextlib.suppress(aiohttp.ClientError):
        while more := await response.content.read(SMALL):
            data += more
            if len(data) > SMALL:
                return no
        return NoVideo(no, data)
    return no


def _look_at_head(head: bytes, response: aiohttp.ClientResponse, url: str) -> None:
    """Raises Page or Reject where these are no video's first bytes."""
    if not head:
        raise Reject("empty", "no bytes")
    kind, said = sniff(head), response.content_type
    claimed = said.startswith("video/") and "mpegurl" not in said and "dash" not in said
    if kind == "playlist" or (kind == "page" and not claimed):
        raise Page
    if kind in ("audio", "image"):
        raise Reject(kind, f"sent as {said}")
    if kind != "video":
        what = "a page" if kind == "page" else f"no video: begins with {head[:8]!r}"
        raise Reject("fake" if claimed or named_as_video(url) else "not a video", f"{what}, sent as {said}")
