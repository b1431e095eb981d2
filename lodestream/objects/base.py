"""What an object store must do. Every write is whole or absent; every read says when there is nothing."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol


class Stat(NamedTuple):
    """One object."""

    key: str
    size: int
    """bytes"""


class Objects(Protocol):
    """An object store. Keys come from `proto.keys`. A store that is away raises `errors.Outage`."""

    async def put(self, key: str, data: bytes) -> None:
        """Store `data` whole, replacing what is there."""

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file whole, by moving it where that can be done: `path` is gone afterwards."""

    async def create(self, key: str, data: bytes) -> bool:
        """Store `data` if the key is free; False when somebody was first. Atomic among all writers."""

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """The object, or `length` bytes of it from `offset`. Raises KeyError where there is none."""

    async def stat(self, key: str) -> Stat | None:
        """The object's size, or None."""

    async def delete(self, key: str) -> None:
        """Remove it; nothing happens where there is none."""

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        """Every object whose key begins with `prefix`, in order of key."""

    def local(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A file with the object's bytes, for programs that read files; not to be written to. Raises KeyError."""


def open_objects(url: str) -> Objects:
    """The store behind `file:///folder` or `s3://user:password@host:port/bucket` (`s3+https://` with TLS).

    Raises LodeError where the URL is neither.
    """
    raise NotImplementedError
