"""What an object store must do. Every write is whole or absent; every read says when there is nothing."""

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from lodestream.errors import LodeError

RESERVED = ".tmp"
"""First part that no key has: a directory keeps its unfinished files there."""


class Stat(NamedTuple):
    """One object."""

    key: str
    size: int
    """bytes"""
    version: str
    """Another one after anybody has written the object; says nothing by itself."""


class Objects(Protocol):
    """An object store. Keys come from `proto.keys`.

    Every call raises `errors.Outage` while the store is away, full or not writable, and ValueError for a bad key.
    """

    async def put(self, key: str, data: bytes) -> str:
        """Store `data` whole, replacing what is there; gives its version."""

    async def put_file(self, key: str, path: Path) -> str:
        """Store a file whole, by moving it where that can be done: `path` is gone afterwards. Gives its version."""

    async def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """Store `data` if the key is free; False when somebody was first. Atomic among all writers.

        What is not `durable` may be lost, or be empty, after a power cut, and costs less.
        """

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """The object, or `length` bytes of it from `offset`. Raises KeyError where there is none."""

    async def stat(self, key: str) -> Stat | None:
        """The object's size and version, or None."""

    async def delete(self, key: str) -> None:
        """Remove it; nothing happens where there is none."""

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        """Every object whose key begins with `prefix`, in order of key."""

    def local(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A file with the object's bytes, for programs that read files; not to be written to. Raises KeyError."""


_plain = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*").fullmatch
"""Nearly every key that there is, where it is short: one look instead of many."""


def check_key(key: str) -> str:
    """The key itself. Raises ValueError unless it is safe as a path and as an S3 key, at most 1,024 bytes in all."""
    if len(key) < 256 and _plain(key):
        return key
    parts = key.split("/")
    if any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        raise ValueError(f"not an object key: {key[:200]!r} (an empty, dotted or overlong part)")
    if parts[0] == RESERVED or not key.isprintable() or "\\" in key or len(key.encode()) > 1024:
        raise ValueError(f"not an object key: {key[:200]!r} (overlong, reserved, or with letters that no key has)")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself. Raises ValueError unless some key could begin with it."""
    if prefix:
        check_key(prefix + "x" if prefix.endswith(("/", ".")) else prefix)
    return prefix


def check_file(path: Path) -> None:
    """Raises ValueError unless `path` is a regular file, no link: only such a file is taken into a store."""
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"not a regular file: {path}")


def open_objects(url: str, work: Path | None = None) -> Objects:
    """The store behind `file:///folder` or `s3://user:password@host:port/bucket` (`s3+https://` with TLS).

    `work` is a folder for downloads that programs read as files; the system's own where it is not given.
    Raises LodeError where the URL is neither.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        from lodestream.objects.directory import Directory

        return Directory(Path(unquote(parts.path)))
    if parts.scheme in ("s3", "s3+https") and parts.hostname and parts.path.strip("/"):
        from lodestream.objects.s3 import S3

        return S3(parts, work)
    raise LodeError(f"no object store at {shown(url)!r}: give file:///folder or s3://user:password@host:port/bucket")


def shown(url: str) -> str:
    """The URL of a store as people may see it: without its password; a folder's path."""
    parts = urlsplit(url)
    return (
        unquote(parts.path)
        if parts.scheme == "file"
        else parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    )
