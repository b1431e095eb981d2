"""Objects in a bucket of any S3 server, through the MinIO client. The bucket must exist."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import SplitResult, unquote

from minio import Minio
from minio.error import MinioException, S3Error
from minio.helpers import check_bucket_name
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError, NewConnectionError, TimeoutError

from lodestream.errors import LodeError, Outage
from lodestream.objects.base import Stat, check_file, check_key, check_prefix
from lodestream.objects.threads import Threads

REGION = "us-east-1"
"""Said, not asked for: asking takes a right that services do not have."""
THREADS = 8
TIMEOUT = Timeout(connect=2, read=30)
"""Seconds; the engine waits and tries again, so the client does not."""
PART = 16 << 20
"""Bytes of a large file held in memory at once."""
WORDS = {
    "NoSuchBucket": "there is no such bucket: make it",
    "AccessDenied": "this user may not do that: check its policy",
    "InvalidAccessKeyId": "unknown user",
    "SignatureDoesNotMatch": "wrong password",
    "XMinioStorageFull": "its disk is full: free some space",
}


class S3:
    """A bucket as an object store. Costs about 0.6 ms of CPU for a small write."""

    def __init__(self, url: SplitResult, work: Path | None) -> None:
        """`url` as `open_objects` documents it. Raises LodeError where a part of it makes no sense."""
        self.bucket, self._work = url.path.strip("/"), work
        self._http = PoolManager(timeout=TIMEOUT, retries=False, maxsize=THREADS)
        self._threads = Threads((MinioException, HTTPError), self._outage, THREADS)
        self._where = f"{url.netloc.rpartition('@')[2]}/{self.bucket}"
        try:
            self._client = Minio(
                url.netloc.rpartition("@")[2],
                unquote(url.username or "") or None,
                unquote(url.password or "") or None,
                secure=url.scheme.endswith("https"),
                region=REGION,
                http_client=self._http,
            )
            check_bucket_name(self.bucket)
        except ValueError as error:
            raise LodeError(f"objects in {self._where}: {error}") from error

    async def put(self, key: str, data: bytes) -> str:
        """Store `data` whole, replacing what is there; gives its version."""
        return await self._threads.run(self._put, check_key(key), data)

    async def put_file(self, key: str, path: Path) -> str:
        """Upload a file, in parts where it is large; `path` is gone afterwards.

        Gives its version. Raises ValueError where `path` is not a regular file.
        """
        return await self._threads.run(self._put_file, check_key(key), path)

    async def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        """Store `data` if the key is free; False when somebody was first. The server decides, and makes all durable."""
        return await self._threads.run(self._create, check_key(key), data)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """The object, or `length` bytes of it from `offset`. Raises KeyError where there is none."""
        return await self._threads.run(self._get, check_key(key), offset, length)

    async def stat(self, key: str) -> Stat | None:
        """The object's size and version, or None."""
        return await self._threads.run(self._stat, check_key(key))

    async def delete(self, key: str) -> None:
        """Remove it; nothing happens where there is none."""
        await self._threads.run(self._client.remove_object, self.bucket, check_key(key))

    def list(self, prefix: str) -> AsyncIterator[Stat]:
        """Every object whose key begins with `prefix`, in order of key."""
        return self._threads.iterate(self._list(check_prefix(prefix)))

    @asynccontextmanager
    async def local(self, key: str) -> AsyncIterator[Path]:
        """A temporary copy of the object, gone at the end. Raises KeyError."""
        folder = Path(tempfile.mkdtemp(prefix="object-", dir=self._work))
        try:
            yield await self._threads.run(self._download, check_key(key), folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _put(self, key: str, data: bytes) -> str:
        return _version(self._client.put_object(self.bucket, key, BytesIO(data), len(data)).etag)

    def _put_file(self, key: str, path: Path) -> str:
        check_file(path)
        made = self._client.fput_object(self.bucket, key, str(path), part_size=PART, num_parallel_uploads=1)
        path.unlink()
        return _version(made.etag)

    def _create(self, key: str, data: bytes) -> bool:
        """A presigned PUT: the client has no other public way to send `If-None-Match` as the condition that it is."""
        url = self._client.get_presigned_url("PUT", self.bucket, key, expires=timedelta(minutes=5))
        answer = self._http.request("PUT", url, body=data, headers={"If-None-Match": "*"})
        if answer.status in (200, 412):
            return answer.status == 200
        raise HTTPError(f"refused with status {answer.status}: {answer.data[:300].decode(errors='replace')}")

    def _get(self, key: str, offset: int, length: int | None) -> bytes:
        with _absence(key):
            if length == 0:  # which the client takes for everything
                self._client.stat_object(self.bucket, key)
                return b""
            try:
                answer = self._client.get_object(self.bucket, key, offset, length or 0)
            except S3Error as error:
                if error.code == "InvalidRange":
                    return b""
                raise
        try:
            return bytes(answer.read())
        finally:
            answer.close()
            answer.release_conn()

    def _stat(self, key: str) -> Stat | None:
        try:
            found = self._client.stat_object(self.bucket, key)
            return Stat(key, found.size or 0, _version(found.etag))
        except S3Error as error:
            if error.code == "NoSuchKey":
                return None
            raise

    def _list(self, prefix: str) -> Iterator[Stat]:
        for found in self._client.list_objects(self.bucket, prefix, recursive=True):
            yield Stat(found.object_name or "", found.size or 0, _version(found.etag))

    def _download(self, key: str, folder: Path) -> Path:
        path = folder / Path(key).name
        with _absence(key):
            self._client.fget_object(self.bucket, key, str(path))
        return path

    def _outage(self, error: Exception) -> Outage:
        return Outage(f"objects in {self._where}: {_words(error)}")


def _version(etag: str | None) -> str:
    """A digest of the content, or of the parts that it was uploaded in."""
    return (etag or "").strip('"')


def _words(error: Exception) -> str:
    """What is wrong, for people."""
    if isinstance(error, S3Error):
        return WORDS.get(error.code or "", f"{error.code}: {error.message}")
    if isinstance(error, NewConnectionError):
        return "nobody listens there: is the server up?"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT.read_timeout:g} s: is the server hung?"
    return f"{type(error).__name__}: {error}"


@contextmanager
def _absence(key: str) -> Iterator[None]:
    """Turns the server's word for an absent object into KeyError."""
    try:
        yield
    except S3Error as error:
        if error.code == "NoSuchKey":
            raise KeyError(key) from None
        raise
