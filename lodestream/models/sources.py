"""Where the files of a model come from: the Hugging Face Hub, a folder, or a bucket."""

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

from lodestream.errors import LodeError, Outage
from lodestream.models.card import Card, File
from lodestream.models.shelf import sha256

HUB = "https://huggingface.co"
ENDPOINT = "HF_ENDPOINT"
AGENT = "lodestream"
"""What the Hub is told who asks."""
PART = ".part"
"""Ends the name of a file of which the rest is still to come; before that, what the whole is called at the Hub."""
TRIES = 5
"""In a row of which none brings anything."""
PATIENCE = 20.0
"""Seconds in which something has to come."""
PARTIAL, NOTHING_LEFT = 206, 416
"""HTTP: here is the part that was asked for; there is no such part."""
DIGEST = 64
"""Letters of a SHA-256 in hex: what the Hub tells of large files."""


class Seen(NamedTuple):
    """What a source says of a file before it is taken."""

    bytes: int
    sha256: str
    """Empty where it does not say."""


class Source(Protocol):
    """A place that has a model's files. Everything raises LodeError, with what to do."""

    @property
    def name(self) -> str:
        """For people: what it is."""

    def look(self, card: Card, file: File) -> Seen:
        """What it has, without taking it."""

    def get(self, card: Card, file: File, folder: Path) -> Path:
        """The file, below `folder`; a download that was cut short before goes on where it ended."""


class Hub:
    """The Hugging Face Hub, or a server of the same kind that HF_ENDPOINT names; HF_TOKEN says who asks."""

    def __init__(self) -> None:
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        self.endpoint = os.environ.get(ENDPOINT, HUB).rstrip("/")

    @property
    def name(self) -> str:
        """See Source."""
        return self.endpoint.split("://")[-1]

    def look(self, card: Card, file: File) -> Seen:
        """See Source."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        with self._words(card, file):
            url = hf_hub_url(card.repo, file.path, revision=card.revision, endpoint=self.endpoint)
            found = get_hf_file_metadata(url, endpoint=self.endpoint, library_name=AGENT)
        digest = found.etag or ""
        return Seen(found.size or 0, digest if len(digest) == DIGEST else "")

    def get(self, card: Card, file: File, folder: Path) -> Path:
        """See Source."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        target = folder / file.path
        with self._words(card, file):
            url = hf_hub_url(card.repo, file.path, revision=card.revision, endpoint=self.endpoint)
            found = get_hf_file_metadata(url, endpoint=self.endpoint, library_name=AGENT, retry_on_errors=True)
            if target.is_file() and found.etag == sha256(target):
                return target
            part = target.with_name(f"{target.name}.{(found.etag or '')[:16]}{PART}")
            part.parent.mkdir(parents=True, exist_ok=True)
            _download(url, part, found.size or 0, file.path)
            part.replace(target)
        return target

    @contextmanager
    def _words(self, card: Card, file: File) -> Iterator[None]:
        """What went wrong at the Hub, for people."""
        from httpx2 import HTTPError
        from huggingface_hub import errors, logging

        logging.set_verbosity_error()  # it says of each try what went wrong, and goes on
        repo, what = f"{self.endpoint}/{card.repo}", f"{file.path} of {card.repo}"
        mirror = f"or bring the files yourself: lode models pull {card.name} --from FOLDER"
        try:
            yield
        except errors.GatedRepoError:
            do = f"accept its licence at {repo}, make a token there that may read it, and set HF_TOKEN to it"
            raise LodeError(f"{card.name} is gated: {do}; {mirror}") from None
        except errors.RevisionNotFoundError:
            raise LodeError(f"{card.repo} has no revision {card.revision}; {mirror}") from None
        except errors.RepositoryNotFoundError:
            raise LodeError(f"there is no {repo}, or not for you (HF_TOKEN says who asks); {mirror}") from None
        except errors.RemoteEntryNotFoundError:
            raise LodeError(f"{card.repo} has no {file.path} at {card.revision}; {mirror}") from None
        except errors.OfflineModeIsEnabled:
            raise LodeError(f"HF_HUB_OFFLINE is set, and {what} is not here; {mirror}") from None
        except (errors.HfHubHTTPError, HTTPError, OSError) as error:  # the last also where the disk is full
            lines = str(error).strip().splitlines() or [type(error).__name__]
            why = "no answer" if isinstance(error, errors.LocalEntryNotFoundError) else lines[0]
            again = "what has come is kept: say the same again to go on"
            raise LodeError(f"cannot get {what} from {self.name}: {why}; {again}, {mirror}") from None


def _download(url: str, part: Path, whole: int, what: str) -> None:
    """Add to a part of a file what is missing. Raises what the Hub's client raises, after the last try."""
    from httpx2 import TransportError
    from huggingface_hub.utils import tqdm

    tries = 0
    with part.open("ab") as file, tqdm(total=whole, unit="B", unit_scale=True, desc=what, disable=None) as bar:
        while True:
            before = file.tell()
            try:
                return _append(url, file, bar)
            except TransportError:
                tries = 1 if file.tell() > before else tries + 1
                if tries == TRIES:
                    raise
                time.sleep(2**tries / 4)


def _append(url: str, file: BinaryIO, bar: Any) -> None:
    """Ask for the rest of a file, and write what comes."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    headers = {**build_hf_headers(library_name=AGENT), "Accept-Encoding": "identity", "Range": f"bytes={file.tell()}-"}
    with get_session().stream("GET", url, headers=headers, follow_redirects=True, timeout=PATIENCE) as answer:
        if answer.status_code == NOTHING_LEFT:
            return
        hf_raise_for_status(answer)
        if answer.status_code != PARTIAL:
            file.seek(0)
            file.truncate()
        bar.update(file.tell() - bar.n)
        for data in answer.iter_bytes():
            file.write(data)
            bar.update(len(data))


class Folder:
    """A folder that has the files as the card names them, at its top or below the model's name."""

    def __init__(self, folder: Path):
        self.folder = folder.expanduser()
        if not self.folder.is_dir():
            raise LodeError(f"{self.folder} is no folder; --from names one, or an s3:// prefix")

    @property
    def name(self) -> str:
        """See Source."""
        return str(self.folder)

    def look(self, card: Card, file: File) -> Seen:
        """See Source."""
        return Seen(self._find(card, file).stat().st_size, "")

    def get(self, card: Card, file: File, folder: Path) -> Path:
        """See Source."""
        source, target = self._find(card, file), folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise LodeError(f"cannot copy {source}: {error.strerror}") from None
        return target

    def _find(self, card: Card, file: File) -> Path:
        for path in (self.folder / card.name / file.path, self.folder / file.path):
            if path.is_file():
                return path
        raise LodeError(f"{self.folder} has no {file.path}, at its top or below {card.name}/")


class Bucket:
    """A prefix in an S3 bucket that has the files as the card names them, at its top or below the model's name."""

    def __init__(self, url: str):
        from lodestream.objects import open_objects, shown

        parts = urlsplit(url)
        bucket, _, self._prefix = parts.path.strip("/").partition("/")
        self._url, self.name = parts._replace(path=f"/{bucket}").geturl(), shown(url)
        self._objects = open_objects(self._url)

    def look(self, card: Card, file: File) -> Seen:
        """See Source."""
        return asyncio.run(self._look(card, file))[1]

    def get(self, card: Card, file: File, folder: Path) -> Path:
        """See Source."""
        target = folder / file.path
        if target.is_file() and file.sha256 and sha256(target) == file.sha256:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        return asyncio.run(self._get(card, file, target))

    async def _get(self, card: Card, file: File, target: Path) -> Path:
        from lodestream.objects import open_objects

        key, _ = await self._look(card, file)
        try:
            async with open_objects(self._url, target.parent).local(key) as path:
                shutil.move(path, target)
        except (Outage, KeyError) as error:
            raise LodeError(f"cannot get {file.path}: {error}") from None
        return target

    async def _look(self, card: Card, file: File) -> tuple[str, Seen]:
        for key in (f"{card.name}/{file.path}", file.path):
            whole = f"{self._prefix}/{key}".lstrip("/")
            try:
                if found := await self._objects.stat(whole):
                    return whole, Seen(found.size, "")
            except Outage as error:
                raise LodeError(str(error)) from None
        raise LodeError(f"{self.name} has no {file.path}, at its top or below {card.name}/")


def open_source(where: str | None) -> Source:
    """The Hub, or a mirror: a folder or `s3://user:password@host:port/bucket/prefix`. Raises LodeError."""
    if not where:
        return Hub()
    if where.startswith(("s3://", "s3+https://")):
        return Bucket(where)
    return Folder(Path(where.removeprefix("file://")))
