"""The shelf: the models folder, which is Triton's model repository, and the cards of what is installed there."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lodestream.errors import LodeError
from lodestream.models.card import PARTS, Card, read_card

VARIABLE = "LODE_MODELS"
CARD, CONFIG, MODEL, TOKENIZER = "card.json", "config.pbtxt", "1/model.onnx", "tokenizer.json"
RECORD = "installed.json"
"""Beside the card: what the files of this folder should be."""
UNFINISHED = ".lode-"


class Shelf:
    """What is installed. A folder `<Triton model>/` is whole or absent, and never takes the place of other bytes."""

    def __init__(self, folder: Path):
        self.folder = folder

    def cards(self) -> list[Card]:
        """Every model that is here with all its parts, by name."""
        found: dict[str, tuple[Card, set[str]]] = {}
        for file in sorted(self.folder.glob(f"*/{CARD}")):
            if not file.parent.name.startswith(UNFINISHED):
                card = read_card(file.read_bytes(), file)
                found.setdefault(card.name, (card, set()))[1].add(file.parent.name)
        return [card for _, (card, parts) in sorted(found.items()) if parts >= set(card.parts.values())]

    def card(self, name: str) -> Card:
        """The card of an installed model. Raises LodeError, which says how to get it."""
        for card in self.cards():
            if card.name == name:
                return card
        raise LodeError(f"model {name} is not installed; get it with: lode models pull {name}")

    def tokenizer(self, name: str) -> Path:
        """The tokenizer.json of an installed model. Raises LodeError where it is not here or reads no text."""
        card = self.card(name)
        if not card.texts:
            raise LodeError(f"model {name} reads no text")
        return self.folder / card.parts[card.texts] / TOKENIZER

    @contextmanager
    def room(self) -> Iterator[Path]:
        """A folder on the same disk to make things in; nothing is left of it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            room = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.folder))
        except OSError as error:
            raise LodeError(
                f"cannot write to {self.folder}: {error.strerror}; {VARIABLE} names another place"
            ) from None
        try:
            yield room
        finally:
            shutil.rmtree(room, ignore_errors=True)

    def put(self, card: Card, made: Path) -> None:
        """Take in the parts of a model, each a finished folder below `made`. Raises LodeError for other bytes."""
        names = [card.parts[part] for part in PARTS[card.role]]
        for name in names:
            seal(made / name)
            self._refuse_other_bytes(card.name, made / name, self.folder / name)
        for name in names:
            if not (self.folder / name).exists():
                (made / name).rename(self.folder / name)
        sync_folder(self.folder)

    def _refuse_other_bytes(self, name: str, made: Path, there: Path) -> None:
        if there.exists() and (not (there / RECORD).is_file() or record(there) != record(made)):
            raise LodeError(f"{there} holds another model; it is not replaced: lode models rm {name} takes it away")


def record(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a part, as it was installed."""
    return msgspec.json.decode((folder / RECORD).read_bytes(), type=dict[str, str])


def seal(folder: Path) -> None:
    """Note the digests of a finished part, and see all of it to the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    (folder / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(digests)) + b"\n")
    for path in [*files, folder / RECORD, *(path.parent for path in files), folder]:
        sync_folder(path)


def sha256(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(path: Path) -> None:
    """See a file or a folder to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
