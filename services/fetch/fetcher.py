"""One candidate from its URL to a stored video."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from lodestream.blobs import Blob, look
from lodestream.children import Children
from lodestream.errors import Postpone, Reject
from lodestream.forget.tombs import FORGOTTEN
from lodestream.job import Job
from lodestream.leases import Lost
from proto import ids, keys
from proto.messages import Candidate, Media
from services.fetch import local, stored
from services.fetch.direct import Downloaded, NoVideo
from services.fetch.known import Known
from services.fetch.probes import Facts, Probes
from services.fetch.web import Web


class Fetcher:
    """What all jobs of a worker share."""

    def __init__(self, web: Web, probes: Probes, fakes: Known):
        self._web, self._probes, self.fakes, self._numbers = web, probes, fakes, count()

    @classmethod
    @asynccontextmanager
    async def open(cls, work: Path, fakes: Known) -> AsyncIterator["Fetcher"]:
        """Temporary files lie under `work`."""
        async with (
            Children("services.fetch.child", work) as children,
            Probes.open(children, work) as probes,
            Web.open(children, work) as web,
        ):
            yield cls(web, probes, fakes)

    async def fetch(self, candidate: Candidate, job: Job) -> Media:
        """The video, stored. Raises Reject, Retry and Outage."""
        form = ids.recipe(job.node_type, 1, b"%d" % job.settings.max_height, "")
        await self.fakes.refuse_url(candidate.url)
        async with job.parts.leases.hold("media", candidate.id, job.parked) as hold:
            known = await (_remade(job) if job.wanted else _stored(candidate, form, job, hold.waited))
            if known:
                return await self._known(candidate, job, form, known)
            with self._scratch(job.parts.work) as path:
                got = await self._get(candidate, job, path)
                facts = await self._checked(got, job)
                key = keys.media(candidate.id, form, got.sha256, facts.extension)
                media = _media(candidate, got, facts, key)
                again = partial(self.fakes.repeated, media, job)
                await stored.tell(candidate.id, form, got.sha256, got.told, job.parts.objects)
                if not await hold.confirm() and (known := await _stored(candidate, form, job, not job.wanted)):
                    return await self._known(candidate, job, form, known)  # by whoever had the lease meanwhile
                if keys.carries(job.wanted, got.sha256):  # it was announced under this key, and under no other
                    media.object_key = job.wanted
                    await job.objects.put_file(job.wanted, got.path, got.sha256)
                else:
                    await stored.store(media, form, got.path, job.objects, job.parts.objects, again)
                if not await hold.confirm():
                    raise Lost("lease lost", "while it was stored: what is there now is looked at again")
                return media

    async def _known(self, candidate: Candidate, job: Job, form: str, known: Blob) -> Media:
        """What was downloaded before: for another flow, for other limits, or by a worker that died."""
        async with job.objects.local(known.key) as path:
            told = await stored.told(candidate.id, form, known.sha256, job.parts.objects)
            got = Downloaded(path, known.sha256, known.size, told)
            job.objects.uses(known)
            return _media(candidate, got, await self._checked(got, job), known.key)

    @contextmanager
    def _scratch(self, work: Path) -> Iterator[Path]:
        """A path for one file or one folder; nothing is there afterwards."""
        path = work / f"fetch-{next(self._numbers)}"
        try:
            yield path
        finally:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    async def _get(self, candidate: Candidate, job: Job, path: Path) -> Downloaded:
        """The file at `path`. Raises Reject, Retry and Outage."""
        try:
            return await self._download(candidate, job, path)
        except NoVideo as no:
            await self.fakes.refuse_bytes(hashlib.sha256(no.data).hexdigest(), len(no.data), job)
            raise

    async def _download(self, candidate: Candidate, job: Job, path: Path) -> Downloaded:
        scheme, settings = urlsplit(candidate.url).scheme, job.settings
        if scheme == "file":
            return await asyncio.to_thread(local.copy, candidate.url, settings.allow_folders, path, settings.max_bytes)
        if scheme in ("http", "https"):
            return await self._web.download(candidate, job, path)
        raise Reject("scheme", f"not http: {candidate.url[:80]}")

    async def _checked(self, got: Downloaded, job: Job) -> Facts:
        if got.bytes > job.settings.max_bytes:
            raise Reject("too big", f"{got.bytes} bytes, over {job.settings.max_bytes}", lasting=False)
        if job.parts.forgotten.holds(got.sha256):
            raise Reject(FORGOTTEN, "the same bytes as something that was forgotten", lasting=False)
        await self.fakes.refuse_bytes(got.sha256, got.bytes, job)
        facts, longest = await self._probes.facts(got.path), float(job.settings.max_duration)
        if facts.duration_s and facts.duration_s > longest:
            raise Reject("too long", f"{facts.duration_s:g} s, over {longest:g}")
        return facts


async def _remade(job: Job) -> Blob | None:
    """What is wanted, where another who wanted it too has made it again by now."""
    if there := await job.parts.objects.stat(job.wanted):
        _, blob = await look(job.parts.objects, Blob(job.wanted, there.size, ""))
        return blob if keys.carries(job.wanted, blob.sha256) else None
    return None


async def _stored(candidate: Candidate, form: str, job: Job, others: bool) -> Blob | None:
    """What was downloaded of it before. Raises Postpone where `others` may have had it, used it and let go of it."""
    known = await stored.find(candidate.id, form, job.objects)
    if not known and others and await stored.was_let_go(candidate.id, form, job.objects):
        raise Postpone("done meanwhile", "it was stored, used and removed: the memo is asked again")
    return known


def _media(candidate: Candidate, got: Downloaded, facts: Facts, key: str) -> Media:
    return Media(
        id=candidate.id,
        url=candidate.url,
        source=candidate.source,
        sha256=got.sha256,
        bytes=got.bytes,
        container=facts.container,
        codec=facts.codec,
        width=facts.width,
        height=facts.height,
        fps=facts.fps,
        duration_s=facts.duration_s,
        rotation=facts.rotation,
        object_key=key,
        title=candidate.title or got.told.title,
        uploader=candidate.uploader or got.told.uploader,
        damage="; ".join(filter(None, (got.told.damage, facts.damage))),
        labels=candidate.labels,
    )
