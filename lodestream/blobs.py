"""What an object must be: its size and digest as recorded, and whether the store still has exactly that.

The version that the store gives an object says whether anybody has written it since it was last read: only then is it
read again.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from lodestream.errors import Malformed, Missing
from lodestream.objects import Objects
from proto import keys

Verdict = Literal["whole", "missing", "wrong"]


class Blob(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object as it was stored."""

    key: str
    size: int
    sha256: str = ""
    """Empty in a record of before there were digests: then what has the right size is taken for it."""
    version: str = ""
    """The store's, when it was last known to be right; empty where it must be read first."""


class Same(msgspec.Struct, frozen=True):
    """Lies under one entity, and names the object of another that has the same bytes."""

    id: str
    blob: Blob


class Gone(msgspec.Struct, frozen=True):
    """What lies in place of an object that was removed because nobody needs its bytes any more."""

    sha256: str
    size: int
    at: str
    """ISO 8601."""


async def look(objects: Objects, blob: Blob) -> tuple[Verdict, Blob]:
    """Whether the store has it, and the record of it that spares the next look the reading."""
    found = await objects.stat(blob.key)
    if found is None:
        return "missing", blob
    if found.size != blob.size:
        return "wrong", blob
    if found.version == blob.version:
        return "whole", blob
    try:
        sha256 = await digest(objects, blob.key)
    except KeyError:
        return "missing", blob
    if blob.sha256 not in ("", sha256):
        return "wrong", blob
    return "whole", Blob(blob.key, blob.size, sha256, found.version)


async def digest(objects: Objects, key: str) -> str:
    """The SHA-256 of an object's bytes, all of which are read. Raises KeyError where there is none."""
    async with objects.local(key) as path:
        try:
            return await asyncio.to_thread(digest_file, path)
        except FileNotFoundError:
            raise KeyError(key) from None


def digest_file(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@asynccontextmanager
async def given(objects: Objects, key: str, size: int, sha256: str) -> AsyncIterator[Path]:
    """A file with the bytes that an input speaks of, all read and compared.

    Raises Missing where there is none, and Malformed where the key is none.
    """
    async with AsyncExitStack() as stack:
        try:
            path = await stack.enter_async_context(objects.local(key))
            if path.stat().st_size != size or await asyncio.to_thread(digest_file, path) != sha256:
                raise Missing(key)
        except (KeyError, FileNotFoundError):
            raise Missing(key) from None
        except ValueError as error:
            raise Malformed("malformed message", str(error)) from None
        yield path


async def remove(objects: Objects, blob: Blob) -> None:
    """Remove an object that nobody needs, for good reason: what is known of it stays valid."""
    gone = Gone(blob.sha256, blob.size, datetime.now(UTC).isoformat(timespec="milliseconds"))
    await objects.put(keys.gone(blob.key), msgspec.json.encode(gone))
    await objects.delete(blob.key)


async def was_removed(objects: Objects, blob: Blob) -> bool:
    """Whether it is absent because `remove` was called for it."""
    try:
        gone = msgspec.json.decode(await objects.get(keys.gone(blob.key)), type=Gone)
    except (KeyError, msgspec.MsgspecError):
        return False
    return (gone.sha256, gone.size) == (blob.sha256, blob.size)
