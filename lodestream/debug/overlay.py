"""An object store whose writes go elsewhere: reads fall through to the real one, which stays as it is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from lodestream.objects import Objects, Stat
from lodestream.objects.directory import Directory


class Overlay:
    """`below`, with what is written or deleted since in a folder of its own. See Objects."""

    def __init__(self, below: Objects, folder: Path):
        self._below, self._above = below, Directory(folder)
        self._gone: set[str] = set()

    async def put(self, key: str, data: bytes) -> str:
        """See Objects."""
        self._gone.discard(key)
        return await self._above.put(key, data)

    async def put_file(self, key: str, path: Path) -> str:
        """See Objects."""
        self._gone.discard(key)
        return await self._above.put_file(key, path)

    async def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """See Objects; atomic for this process alone."""
        if await self.stat(key) is not None:
            return False
        self._gone.discard(key)
        return await self._above.create(key, data)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Objects."""
        return await (await self._of(key)).get(key, offset, length)

    async def stat(self, key: str) -> Stat | None:
        """See Objects."""
        if key in self._gone:
            return None
        return await self._above.stat(key) or await self._below.stat(key)

    async def delete(self, key: str) -> None:
        """See Objects."""
        self._gone.add(key)
        await self._above.delete(key)

    async def list(self, prefix: str) -> AsyncIterator[Stat]:
        """See Objects."""
        found = {stat.key: stat async for stat in self._below.list(prefix)}
        found |= {stat.key: stat async for stat in self._above.list(prefix)}
        for key in sorted(found.keys() - self._gone):
            yield found[key]

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """See Objects."""
        async with (await self._of(key)).local(key) as path:
            yield path

    async def written(self) -> Sequence[Stat]:
        """What would have been stored."""
        return [stat async for stat in self._above.list("")]

    async def _of(self, key: str) -> Objects:
        """The store that has it. Raises KeyError where it was deleted."""
        if key in self._gone:
            raise KeyError(key)
        return self._above if await self._above.stat(key) else self._below
