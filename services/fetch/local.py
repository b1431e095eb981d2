"""Files that are already on this machine, in folders that the flow names."""

import errno
import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lodestream.errors import Outage, Reject
from lodestream.web.sniff import HEAD, sniff
from services.fetch.direct import Downloaded

CHUNK = 1 << 20


def copy(url: str, allow_folders: Sequence[str], target: Path, max_bytes: int) -> Downloaded:
    """A copy of the file behind a `file:` URL. Raises Reject, and Outage where there is no room for it."""
    path = _inside(url, allow_folders)
    try:
        return _copy(path, target, max_bytes)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Outage(f"no room left in {target.parent}: free some space") from None
        raise Reject("gone", f"cannot read {path}: {error.strerror}", lasting=False) from None


def _inside(url: str, allow_folders: Sequence[str]) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path)).resolve()
    if parts.netloc not in ("", "localhost") or not any(
        path.is_relative_to(Path(folder).resolve()) for folder in allow_folders
    ):
        raise Reject("forbidden address", f"{path} is not inside a folder of allow_folders", lasting=False)
    if not path.exists():
        raise Reject("gone", f"nothing at {path}", lasting=False)
    if not path.is_file():
        raise Reject("not a video", f"{path} is not a file")
    return path


def _copy(path: Path, target: Path, max_bytes: int) -> Downloaded:
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as source, target.open("wb") as copy:
        _judge(source.read(HEAD))
        source.seek(0)
        while data := source.read(CHUNK):
            size += len(data)
            if size > max_bytes:
                raise Reject("too big", f"over {max_bytes} bytes", lasting=False)
            sha256.update(data)
            copy.write(data)
    return Downloaded(target, sha256.hexdigest(), size)


def _judge(head: bytes) -> None:
    if not head:
        raise Reject("empty", "no bytes")
    kind = sniff(head)
    if kind in ("audio", "image"):
        raise Reject(kind)
    if kind != "video":
        raise Reject("fake", "a page" if kind in ("page", "playlist") else f"no video: begins with {head[:8]!r}")
