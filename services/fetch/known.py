"""Known fakes as a fetch worker meets them: by the URL before a download, by the bytes after it.

The library is read anew by one listing every few seconds while there is work, never for a single job.
"""

import asyncio
from datetime import UTC, datetime

import msgspec

from lodestream.errors import Reject
from lodestream.fakes import Entry, Library
from lodestream.fakes.origins import origin
from lodestream.fakes.shelf import Shelf, Sighting
from lodestream.job import Job
from lodestream.memo import Memo
from lodestream.objects import Objects
from proto import keys
from proto.messages import Media

FRESH_S = 3.0
SHARE = 50
"""A listing of many entries is not repeated before this many times as long as it took."""


class Known:
    """The library, and what is learned while fetching."""

    def __init__(self, objects: Objects):
        self._shelf, self._lock = Shelf(objects), asyncio.Lock()
        self._library, self._added, self._due = Library(), list[Entry](), 0.0

    async def refuse_url(self, url: str) -> None:
        """Raises Reject where the URL says it; not for ever, for it costs nothing to say so again."""
        if entry := (await self._now()).url(url):
            raise Reject("fake", await self._named(entry), lasting=False)

    async def refuse_bytes(self, sha256: str, size: int, job: Job) -> None:
        """Raises Reject where a file is a known fake; what will remember that is noted, to go with the entry."""
        if entry := (await self._now()).content(sha256, size):
            memo = keys.memo(job.node_type, job.recipe, job.entity)
            await self._shelf.refused(entry, f"{job.recipe}/{job.entity}", memo)
            raise Reject("fake", await self._named(entry))

    async def refuse_stored(self, media: Media) -> None:
        """Raises Reject where a video that is stored has become known as a fake since."""
        if entry := (await self._now()).content(media.sha256, media.bytes):
            raise Reject("fake", await self._named(entry))

    async def repeated(self, media: Media, job: Job, first: str) -> None:
        """Learn that the bytes of the video `first` came for another one, too.

        Raises Reject where they come from more unrelated URLs than the node allows.
        """
        if (await self._now()).fine(media.sha256):
            return
        if await self._shelf.seen(media.sha256, origin(media.url), _sighting(media.url, media.id, media)):
            await self._note_first(first, job, media)
        most: int | None = job.settings.max_origins
        if most is not None and len(await self._shelf.origins(media.sha256, most + 1)) > most:
            what = f"the same bytes from more than {most} unrelated URLs: sha256 {media.sha256}"
            raise Reject("fake", what, lasting=False)

    async def _now(self) -> Library:
        """The library as it was a few seconds ago at most. Raises Outage."""
        now = asyncio.get_running_loop().time
        if now() >= self._due:
            async with self._lock:
                if (began := now()) >= self._due:
                    added = await self._shelf.entries()
                    if added != self._added:
                        self._added, self._library = added, Library(added)
                    self._due = now() + max(FRESH_S, SHARE * (now() - began))
        return self._library

    async def _named(self, entry: Entry) -> str:
        return f"known fake: {entry if entry.note else await self._shelf.full(entry)}"

    async def _note_first(self, first: str, job: Job, media: Media) -> None:
        """Where the bytes came from at first; under the id of that video as long as nobody remembers its URL."""
        if url := await _url(first, job):
            await self._shelf.seen(media.sha256, origin(url), _sighting(url, first, media))
            await self._shelf.unseen(media.sha256, first)
        else:
            await self._shelf.seen(media.sha256, first, _sighting("", first, media))


def _sighting(url: str, media_id: str, same: Media) -> Sighting:
    return Sighting(url, media_id, same.bytes, datetime.now(UTC).isoformat(timespec="seconds"))


async def _url(media_id: str, job: Job) -> str | None:
    """Where a video was fetched from, as far as this node remembers."""
    manifest = await Memo(job.parts.objects, job.node_type, job.recipe).read(media_id)
    if manifest is None or not manifest.outputs:
        return None
    return msgspec.json.decode(manifest.outputs[0].message, type=Media).url
