"""The memo: one manifest per input and recipe that names what was made, written before it is announced.

A crash costs at most one redo; a second flow that wants the same thing computes nothing; a changed setting is another
recipe and finds no manifest.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from lodestream.errors import Reject
from lodestream.objects import Objects, Stat
from proto import keys
from proto.messages import Message, encode


class Made(msgspec.Struct):
    """One output: the port it leaves by and the message, its cause left open."""

    port: str
    message: msgspec.Raw


class Blob(msgspec.Struct):
    """An object that the outputs speak of."""

    key: str
    size: int


class No(msgspec.Struct):
    """A lasting no."""

    reason: str
    detail: str = ""


class Manifest(msgspec.Struct, kw_only=True):
    """What one node made of one input."""

    type: str
    recipe: str
    input: str
    at: str
    seconds: float
    """Wall time that it took."""
    outputs: list[Made] = []
    blobs: list[Blob] = []
    rejected: No | None = None


_decode = msgspec.json.Decoder(Manifest).decode


class Memo:
    """The manifests of one node type and recipe."""

    def __init__(self, objects: Objects, node_type: str, recipe: str):
        self._objects, self._type, self._recipe = objects, node_type, recipe

    async def find(self, input_id: str) -> Manifest | None:
        """The manifest, if there is one and all that it names is there, whole in size."""
        try:
            manifest = _decode(await self._objects.get(self._key(input_id)))
        except (KeyError, msgspec.DecodeError):
            return None
        for blob in manifest.blobs:
            if await self._objects.stat(blob.key) != Stat(blob.key, blob.size):
                return None
        return manifest

    async def keep(
        self,
        input_id: str,
        seconds: float,
        outputs: list[tuple[str, Message]],
        blobs: dict[str, int],
        no: Reject | None,
    ) -> None:
        """Write the manifest; the blobs that it names are already stored."""
        manifest = Manifest(
            type=self._type,
            recipe=self._recipe,
            input=input_id,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            seconds=round(seconds, 3),
            outputs=[Made(port, msgspec.Raw(encode(message))) for port, message in outputs],
            blobs=[Blob(key, size) for key, size in blobs.items()],
            rejected=No(no.reason, no.detail) if no else None,
        )
        await self._objects.put(self._key(input_id), msgspec.json.encode(manifest))

    def _key(self, input_id: str) -> str:
        return keys.memo(self._type, self._recipe, input_id)


class Noted:
    """An object store that notes what is written through it, for the manifest."""

    def __init__(self, objects: Objects):
        self._objects = objects
        self.written: dict[str, int] = {}
        """Size in bytes by key, of what the output speaks of."""

    async def put(self, key: str, data: bytes) -> None:
        """See Objects."""
        await self._objects.put(key, data)
        self.written[key] = len(data)

    async def put_file(self, key: str, path: Path) -> None:
        """See Objects."""
        size = path.stat().st_size
        await self._objects.put_file(key, path)
        self.written[key] = size

    def uses(self, key: str, size: int) -> None:
        """Note an object, of `size` bytes, that the output speaks of but that was there already."""
        self.written[key] = size

    async def create(self, key: str, data: bytes) -> bool:
        """See Objects; a claim is no blob of the output, so it is not noted."""
        return await self._objects.create(key, data)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Objects."""
        return await self._objects.get(key, offset, length)

    async def stat(self, key: str) -> Stat | None:
        """See Objects."""
        return await self._objects.stat(key)

    async def delete(self, key: str) -> None:
        """See Objects."""
        await self._objects.delete(key)
        self.written.pop(key, None)

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        """See Objects."""
        return self._objects.list(prefix)

    def local(self, key: str) -> AbstractAsyncContextManager[Path]:
        """See Objects."""
        return self._objects.local(key)
