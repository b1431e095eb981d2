"""Gets a model: looks first, takes its files, holds them against the card, and installs it whole or not at all."""

import shutil
from pathlib import Path

import msgspec

from lodestream.errors import LodeError
from lodestream.models.card import Card, File
from lodestream.models.install import build
from lodestream.models.shelf import Shelf, sha256
from lodestream.models.sources import Source

FILES = "files"
"""In a workshop: what has been taken."""


def look(card: Card, source: Source) -> Card:
    """The card with the sizes that the source tells. Raises LodeError where it has other files than the card says."""
    return msgspec.structs.replace(card, files=tuple(_look(card, file, source) for file in card.files))


def _look(card: Card, file: File, source: Source) -> File:
    seen = source.look(card, file)
    _compare(card, file, seen.bytes, seen.sha256, source.name)
    return msgspec.structs.replace(file, bytes=file.bytes or seen.bytes)


def pull(card: Card, source: Source, shelf: Shelf) -> Card:
    """Get a model and install it; the card as installed, with the digest of every file. Raises LodeError.

    What has come of it stays when it is cut short, and the next pull goes on from there.
    """
    with shelf.workshop(card.name) as room:
        _check_space(card, shelf.folder)
        files = tuple(_get(card, file, source, room / FILES) for file in card.files)
        whole = msgspec.structs.replace(card, files=files)
        build(whole, room / FILES, room, shelf)
    return whole


def _get(card: Card, file: File, source: Source, folder: Path) -> File:
    path = source.get(card, file, folder)
    size, digest = path.stat().st_size, sha256(path)
    try:
        _compare(card, file, size, digest, source.name)
    except LodeError:
        path.unlink()
        raise
    return File(path=file.path, sha256=digest, bytes=size)


def _compare(card: Card, file: File, size: int, digest: str, where: str) -> None:
    """Raises LodeError where a file is another than the card says; what is not known of it is not compared."""
    if digest and file.sha256 and digest != file.sha256:
        wrong = f"SHA-256 {digest} in place of {file.sha256}"
    elif size and file.bytes and size != file.bytes:
        wrong = f"{size:,} bytes in place of {file.bytes:,}"
    else:
        return
    raise LodeError(f"{file.path} of {card.name} from {where} is not what its card says: {wrong}; nothing is installed")


def _check_space(card: Card, folder: Path) -> None:
    free, need = shutil.disk_usage(folder).free, 2 * card.bytes
    if free < need:
        raise LodeError(f"{folder} has {free >> 20:,} MB free, and {card.name} needs {need >> 20:,} MB to be installed")
