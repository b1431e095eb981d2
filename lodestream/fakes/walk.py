"""The media files below a folder. Links are not followed; what is hidden, or another instance's, is left alone."""

import codecs
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from lodestream.local.home import RECORD
from lodestream.web.sniff import Kind, sniff

HEAD = 512
"""Bytes that are looked at."""

VIDEO = frozenset(
    [
        *("mp4", "m4v", "mov", "3gp", "3g2", "webm", "mkv", "avi", "wmv", "asf", "flv"),
        *("mpg", "mpeg", "m2ts", "ogv", "mxf"),
    ]
)
IMAGE = frozenset(["jpg", "jpeg", "png", "gif", "webp", "bmp", "tif", "tiff", "avif", "heic"])
SOUND = frozenset(["mp3", "m4a", "wav", "flac", "ogg", "oga", "opus", "aac"])
LOOKED_INTO = frozenset(("", "ts", "mts"))
"""Endings that say nothing, or that other things have, too: the bytes decide."""


@dataclass(frozen=True, slots=True)
class File:
    """A media file as it was found."""

    path: str
    size: int
    mtime_ns: int
    links: int
    claims: str
    """What its name says: `video`, `image`, `sound`, or nothing."""

    def age(self) -> tuple[bool, int, int, str]:
        """Of files with the same bytes, the one with the least is kept: see `lodestream.fakes.scan`."""
        return (self.links == 1, self.mtime_ns, len(self.path), self.path)


@dataclass
class Found:
    """What a walk came across."""

    files: list[File] = field(default_factory=list)
    others: int = 0
    """Files that are neither named as media nor made so."""
    links: int = 0
    """Links, which are not followed, and second names of a file."""
    hidden: int = 0
    instances: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """Paths, and why."""


def as_file(path: Path) -> File:
    """One file, whatever it is. Raises OSError."""
    said = path.stat()
    return File(str(path.resolve()), said.st_size, said.st_mtime_ns, said.st_nlink, "")


def walk(root: Path) -> Found:
    """Everything below `root`."""
    found, seen, folders = Found(), set[tuple[int, int]](), [str(root)]
    while folders:
        folder = folders.pop()
        entries = _entries(folder, found)
        if folder != str(root) and any(entry.name == RECORD for entry in entries):
            found.instances.append(folder)
            continue
        inside: list[str] = []
        for entry in entries:
            if entry.name.startswith("."):
                found.hidden += 1
            elif entry.is_symlink():
                found.links += 1
            elif entry.is_dir(follow_symlinks=False):
                inside.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                _take(entry, found, seen)
        folders += reversed(inside)
    return found


def instance_above(path: Path) -> Path | None:
    """The home of the instance that `path` lies in, or None."""
    return next((folder for folder in (path, *path.parents) if (folder / RECORD).is_file()), None)


def _entries(folder: str, found: Found) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found.unreadable.append((folder, error.strerror or str(error)))
        return []


def _take(entry: "os.DirEntry[str]", found: Found, seen: set[tuple[int, int]]) -> None:
    """Note a file; one that has several names only under the first."""
    claims = _claim(entry.name)
    try:
        if claims == "other" or (not claims and not _is_media(head(entry.path))):
            found.others += 1
            return
        said = entry.stat(follow_symlinks=False)
    except OSError as error:
        found.unreadable.append((entry.path, error.strerror or str(error)))
        return
    if said.st_nlink > 1 and (said.st_dev, said.st_ino) in seen:
        found.links += 1
        return
    seen.add((said.st_dev, said.st_ino))
    found.files.append(File(entry.path, said.st_size, said.st_mtime_ns, said.st_nlink, claims))


def _claim(name: str) -> str:
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if ending in LOOKED_INTO:
        return ""
    return next((c for c, known in (("video", VIDEO), ("image", IMAGE), ("sound", SOUND)) if ending in known), "other")


def open_plain(path: str) -> int:
    """A descriptor for reading a regular file. Raises OSError, also for anything else."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "no longer a plain file")
    return fd


def head(path: str) -> bytes:
    """The first bytes of a file. Raises OSError."""
    fd = open_plain(path)
    try:
        return os.read(fd, HEAD)
    finally:
        os.close(fd)


def is_text(data: bytes) -> bool:
    """Whether these first bytes of a file are text in UTF-8; the last letter may be cut."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text)


def _is_media(data: bytes) -> bool:
    """By the bytes alone, where they leave no doubt."""
    kind: Kind = sniff(data)
    loose = data[:1] != b"G" and data[4:5] == b"G"
    return kind in ("video", "image") and not loose and not is_text(data)


def first_doubt(claims: str, data: bytes) -> str:
    """What a file is in place of what its name claims; empty where it may well be that."""
    if not data or claims not in ("video", "image"):
        return ""
    kind: Kind = sniff(data)
    if kind in ("page", "playlist") or (kind == "other" and is_text(data)):
        return f"{'text' if kind == 'other' else f'a {kind}'} named as {claims}"
    if claims == "video" and kind in ("audio", "image"):
        return f"{'sound' if kind == 'audio' else 'an image'} named as video"
    return ""
