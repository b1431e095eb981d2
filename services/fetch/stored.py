"""Downloads in the object store, found by video and by content; what its digest does not bear out is not believed."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from lodestream.blobs import Blob, Same, digest, look
from lodestream.errors import Reject
from lodestream.job import Job
from lodestream.memo import Noted
from lodestream.objects import Objects
from proto import ids, keys
from proto.messages import Media

log = structlog.get_logger()
Kind = TypeVar("Kind")


class Claim(msgspec.Struct, frozen=True):
    """Names the first video of a flow that had these bytes."""

    id: str
    sha256: str


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a site says of a video beside its bytes: none of it could be had again without asking."""

    damage: str = ""
    """How the server failed to give all of it."""
    title: str = ""
    uploader: str = ""


NOTHING = Told()


async def find(media_id: str, form: str, objects: Objects) -> Blob | None:
    """What was downloaded of this video before, in this form; all its bytes are read, and wrong ones removed."""
    async for found in objects.list(keys.downloads(media_id, form)):
        if found.key.endswith(keys.gone("")):
            continue
        if found.key == keys.same(media_id, form):
            blob = await _of_another(media_id, found.key, objects)
        else:
            sha256 = await digest(objects, found.key)
            right = keys.media(media_id, form, sha256, found.key.rpartition(".")[2]) == found.key
            blob = Blob(found.key, found.size, sha256, found.version) if right else None
        if blob:
            return blob
        log.warning("object wrong: it is downloaded again", key=found.key)
        await objects.delete(found.key)
    return None


async def was_let_go(media_id: str, form: str, objects: Objects) -> bool:
    """Whether something was downloaded of this video, and removed because nobody needs it any more."""
    return any([found.key.endswith(keys.gone("")) async for found in objects.list(keys.downloads(media_id, form))])


async def _of_another(media_id: str, key: str, objects: Objects) -> Blob | None:
    same = await _read(objects, key, Same)
    if same is None or same.id != media_id:
        return None
    verdict, blob = await look(objects, same.blob)
    return blob if verdict == "whole" else None


async def tell(media_id: str, form: str, sha256: str, told: Told, objects: Objects) -> None:
    """Keep what a site said, before the file: whoever finds that knows this too."""
    if told != NOTHING:
        await objects.put(keys.told(media_id, form, sha256), msgspec.json.encode(told))


async def told(media_id: str, form: str, sha256: str, objects: Objects) -> Told:
    """What was kept of it."""
    return await _read(objects, keys.told(media_id, form, sha256), Told) or NOTHING


async def store(
    media: Media, form: str, path: Path, noted: Noted, objects: Objects, again: Callable[[str], Awaitable[None]]
) -> None:
    """Store the file, unless one with the same bytes is there already: then that serves for both.

    `objects` takes what is no output: an index by content, which is written first, so that a crash leaves no file
    that it does not know (a power cut may: then one content is stored twice). `again` is told the id of the other video
    before anything is stored, and may raise Reject.
    """
    index, own = keys.content(media.sha256), Blob(media.object_key, media.bytes, media.sha256)
    if not await objects.create(index, msgspec.json.encode(own), durable=False):
        if other := await _whole_other(own, index, objects):
            await again(keys.media_of(other.key))
            await objects.put(keys.same(media.id, form), msgspec.json.encode(Same(media.id, other)))
            media.object_key = other.key
            noted.uses(other)
            return
        await objects.put(index, msgspec.json.encode(own))
    await noted.put_file(media.object_key, path, media.sha256)


async def _whole_other(own: Blob, index: str, objects: Objects) -> Blob | None:
    """The object with these bytes that the index names, where it is another one, and truly has them."""
    known = await _read(objects, index, Blob)
    if known is None or known.key == own.key or (known.sha256, known.size) != (own.sha256, own.size):
        return None
    verdict, now = await look(objects, known)
    if verdict != "whole":
        return None
    if now != known:  # spare the next one the reading
        await objects.put(index, msgspec.json.encode(now))
    return now


async def settle(media: Media, job: Job) -> None:
    """The first video of a flow with these bytes is the one that counts. Raises Reject for any other."""
    objects, key = job.parts.objects, keys.claim(job.flow, job.recipe, media.sha256)
    mine = msgspec.json.encode(Claim(media.id, media.sha256))
    if await objects.create(key, mine, durable=False):
        return
    first = await _first(objects, key, media.sha256)
    if not first:
        log.warning("claim unreadable: made anew", key=key)
        await objects.put(key, mine)
    elif first != media.id:
        raise Reject("duplicate", f"the same bytes as {first}", repeats=first)


async def _first(objects: Objects, key: str, sha256: str) -> str:
    """The id in a claim, which once was all of it; nothing where it is no claim of these bytes."""
    if claim := await _read(objects, key, Claim):
        return claim.id if claim.sha256 == sha256 else ""
    try:
        bare = (await objects.get(key)).decode()
    except (KeyError, UnicodeDecodeError):
        return ""
    return bare if ids.is_token(bare) else ""


async def _read(objects: Objects, key: str, kind: type[Kind]) -> Kind | None:
    """A small record; None where there is none, or none that can be read."""
    try:
        found: Any = msgspec.json.decode(await objects.get(key), type=kind)
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found
