"""Lines of JSON: in a seed itself, in a local file, or in a file on the web, which is kept part by part as it comes."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

import aiohttp
import msgspec

from lodestream.errors import Reject
from lodestream.letters import now
from lodestream.web.verdicts import Verdict
from services.records.api import TROUBLE, Api, Failed
from services.records.shelf import Batch, Shelf

PART = 1 << 20
"""Bytes of lines that are kept at once."""
FLUSH_S = 1.0
"""Seconds of silence after which whole lines are kept, however few."""
LONGEST = 16 << 20
"""Bytes of one line."""
AT_ONCE = 1000
"""Lines of a local file that are read at once."""

_NAMED = re.compile(r"\.(jsonl|ndjson)\Z", re.IGNORECASE)
_RANGE = re.compile(r"bytes (\d+)-")


class Changed(Exception):
    """A file on the web that is another by now than the one that was begun."""


class Part(msgspec.Struct, kw_only=True):
    """Some whole lines of a file on the web, as they are stored."""

    url: str
    at: str
    """When it came, ISO 8601."""
    start: int
    """Byte of the file."""
    end: int
    validator: str
    """Strong ETag or Last-Modified of the file."""
    last: bool
    data: bytes


def is_lines(url: str) -> bool:
    """Whether a URL names a file of lines."""
    return bool(_NAMED.search(url.partition("?")[0].partition("#")[0]))


def given(lines: str, first: int) -> Batch:
    """The lines that a seed brings itself."""
    return _batch("", lines.encode(), first)


async def local(path: str, folders: list[str]) -> AsyncIterator[Batch]:
    """The lines of a local file. Raises Reject where it may not be read, or is not there."""
    blocks = _blocks(_inside(path, folders))
    while block := await asyncio.to_thread(list, islice(blocks, AT_ONCE)):
        yield Batch("", [entry for entry in block if entry[1]])


async def remote(url: str, api: Api, shelf: Shelf) -> AsyncIterator[Batch]:
    """The lines of a file on the web; stored parts are not asked for. Raises Failed and Changed."""
    start, first, validator, attempt = 0, 1, "", 0
    while part := await shelf.find(shelf.key(f"{url}#{start}"), Part):
        yield _batch(shelf.key(f"{url}#{start}"), part.data, first)
        start, first, validator = part.end, first + part.data.count(b"\n"), part.validator
        if part.last:
            return
    while True:
        before = start
        try:
            async for part in _parts(url, api, start, validator):
                key = shelf.key(f"{url}#{start}")
                part = await shelf.keep(key, part)
                yield _batch(key, part.data, first)
                start, first, validator = part.end, first + part.data.count(b"\n"), part.validator
            return
        except TROUBLE as error:
            attempt = 1 if start > before else attempt + 1
            await api.pause(url, error, attempt)


async def _parts(url: str, api: Api, start: int, validator: str) -> AsyncIterator[Part]:
    """Whole lines from byte `start` on; the byte before it is asked for, too, for it must end a line."""
    await api.turn(url)
    headers = {"Range": f"bytes={start - 1}-", **({"If-Range": validator} if validator else {})} if start else {}
    async with api.get(url, headers) as response:
        found, skip = _validator(response), _skip(response, start, validator)
        buffer, eof = bytearray(), False
        while not eof:
            data, eof = await _read(response)
            if skip and data:
                if len(data) >= skip and data[skip - 1 : skip] != b"\n":
                    raise Changed(f"byte {start} is no longer the end of a line")
                data, skip = data[skip:], max(skip - len(data), 0)
            buffer += data
            whole = len(buffer) if eof else buffer.rfind(b"\n") + 1
            if len(buffer) - whole > LONGEST:
                raise Failed(Verdict("reject", "too big", f"a line of over {LONGEST >> 20} MiB"))
            if eof or (whole and (whole >= PART or not data)):
                yield Part(
                    url=url,
                    at=now(),
                    start=start,
                    end=start + whole,
                    validator=found,
                    last=eof,
                    data=bytes(buffer[:whole]),
                )
                start += whole
                del buffer[:whole]


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """What came, and whether it was the last; nothing where nothing comes for a while."""
    try:
        async with asyncio.timeout(FLUSH_S) as silence:
            data = await response.content.readany()
            return data, not data
    except TimeoutError:
        if not silence.expired():
            raise
        return b"", False


def _validator(response: aiohttp.ClientResponse) -> str:
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _skip(response: aiohttp.ClientResponse, start: int, validator: str) -> int:
    """Bytes of the answer that come before byte `start` of the file. Raises Changed and Failed."""
    if not start:
        return 0
    if _validator(response) != validator:
        raise Changed("its ETag or its time is another")
    if response.status != 206:
        return start
    got = _RANGE.match(response.headers.get("Content-Range", ""))
    if not got or int(got[1]) != start - 1:
        raise Failed(Verdict("retry", "network", f"asked for bytes from {start - 1}, got {got and got[0]}"))
    return 1


def _batch(key: str, data: bytes, first: int) -> Batch:
    numbered = ((first + n, line.strip()) for n, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n")))
    return Batch(key, [(number, line) for number, line in numbered if line])


def _blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number and text of every line, also of blank ones."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), 1):
            if len(line) > LONGEST:
                raise Reject("too big", f"line {number} of {path} is over {LONGEST >> 20} MiB", lasting=False)
            yield number, (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()


def _inside(path: str, folders: list[str]) -> Path:
    real = Path(path).resolve()
    if not any(real.is_relative_to(Path(folder).resolve()) for folder in folders):
        raise Reject("forbidden folder", f"{path} is not inside a folder of allow_folders", lasting=False)
    if not real.is_file():
        raise Reject("gone", f"no file at {path}", lasting=False)
    return real
