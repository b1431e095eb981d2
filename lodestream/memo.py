"""The memo: one manifest per input and recipe that names what was made, written before it is announced.

A crash costs at most one redo; a second flow that wants the same thing computes nothing; a changed setting is another
recipe and finds no manifest.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from lodestream.blobs import Blob, digest_file, look, was_removed
from lodestream.errors import Missing, Reject
from lodestream.objects import Objects, Stat
from proto import ids, keys
from proto.messages import Message, encode

log = structlog.get_logger()


class Made(msgspec.Struct):
    """One output: the port it leaves by and the message, its cause left open."""

    port: str
    message: msgspec.Raw


class No(msgspec.Struct):
    """A lasting no."""

    reason: str
    detail: str = ""


class Manifest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What one node made of one input."""

    digest: str = ""
    """BLAKE2b-128 of the rest, hex: a manifest that somebody has touched is none."""
    type: str
    recipe: str
    input: str
    at: str
    seconds: float
    """Wall time that it took."""
    outputs: list[Made] = []
    blobs: list[Blob] = []
    rejected: No | None = None


_UNSEALED = b'{"digest":""'
_decode = msgspec.json.Decoder(Manifest).decode


def sealed(manifest: Manifest) -> bytes:
    """The manifest as it is stored, with its digest."""
    manifest.digest = ""
    content = msgspec.json.encode(manifest)
    return content.replace(_UNSEALED, f'{{"digest":"{ids.digest(content)}"'.encode(), 1)


def unsealed(data: bytes) -> Manifest | None:
    """The manifest, if it is as it was stored; one of before there were digests is believed."""
    try:
        manifest = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    content = data.replace(manifest.digest.encode(), b"", 1)
    return manifest if manifest.digest in ("", ids.digest(content)) else None


class Memo:
    """The manifests of one node type and recipe."""

    def __init__(self, objects: Objects, node_type: str, recipe: str):
        self._objects, self._type, self._recipe = objects, node_type, recipe

    async def find(self, input_id: str, wanted: str = "") -> Manifest | None:
        """The manifest, if there is one and all that it names is there, whole, or was removed on purpose.

        Says what is not, and removes it where it is something else. One that does not name `wanted` is none.
        """
        manifest = await self.read(input_id)
        if manifest is None or (wanted and all(blob.key != wanted for blob in manifest.blobs)):
            return None
        blobs = [await self._whole(blob) for blob in manifest.blobs]
        if None in blobs:
            return None
        if blobs != manifest.blobs:  # written to since, and yet the same: not to be read again next time
            manifest.blobs = [blob for blob in blobs if blob]
            await self._objects.put(self._key(input_id), sealed(manifest))
        return manifest

    async def read(self, input_id: str) -> Manifest | None:
        """The manifest, whatever became of what it names."""
        try:
            manifest = unsealed(await self._objects.get(self._key(input_id)))
        except KeyError:
            return None
        if manifest and (manifest.type, manifest.recipe, manifest.input) == (self._type, self._recipe, input_id):
            return manifest
        log.warning("manifest unreadable: the work is done again", key=self._key(input_id))
        return None

    async def _whole(self, blob: Blob) -> Blob | None:
        verdict, now = await look(self._objects, blob)
        if verdict == "whole" or (verdict == "missing" and await was_removed(self._objects, blob)):
            return now
        log.warning(f"object {verdict}: the work is done again", key=blob.key)
        if verdict == "wrong":
            await self._objects.delete(blob.key)
        return None

    async def keep(
        self,
        input_id: str,
        seconds: float,
        outputs: list[tuple[str, Message]],
        blobs: list[Blob],
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
            blobs=blobs,
            rejected=No(no.reason, no.detail) if no else None,
        )
        await self._objects.put(self._key(input_id), sealed(manifest))

    def _key(self, input_id: str) -> str:
        return keys.memo(self._type, self._recipe, input_id)


class Noted:
    """An object store that notes what is written through it, for the manifest."""

    def __init__(self, objects: Objects):
        self._objects = objects
        self.written: dict[str, Blob] = {}
        """What the output speaks of, by key."""

    async def put(self, key: str, data: bytes) -> str:
        """See Objects."""
        version = await self._objects.put(key, data)
        self.uses(Blob(key, len(data), hashlib.sha256(data).hexdigest(), version))
        return version

    async def put_file(self, key: str, path: Path, sha256: str = "") -> str:
        """See Objects; `sha256` where the caller knows it: the file is read once more otherwise."""
        size, sha256 = path.stat().st_size, sha256 or await asyncio.to_thread(digest_file, path)
        version = await self._objects.put_file(key, path)
        self.uses(Blob(key, size, sha256, version))
        return version

    def uses(self, blob: Blob) -> None:
        """Note an object that the output speaks of but that was there already."""
        self.written[blob.key] = blob

    async def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """See Objects; a claim is no blob of the output, so it is not noted."""
        return await self._objects.create(key, data, durable=durable)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Objects. Raises Missing, which is a KeyError."""
        try:
            return await self._objects.get(key, offset, length)
        except KeyError:
            raise Missing(key) from None

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

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """See Objects. Raises Missing, which is a KeyError."""
        async with AsyncExitStack() as stack:
            try:
                path = await stack.enter_async_context(self._objects.local(key))
            except KeyError:
                raise Missing(key) from None
            yield path
