"""The shelf: the models folder, which is Triton's model repository, and the cards of what is installed there."""

import fcntl
import hashlib
import os
import shutil
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
"""Begins the names of folders in which models are being made."""


class Shelf:
    """What is installed. A folder `<Triton model>/` is whole or absent, and never takes the place of other bytes."""

    def __init__(self, folder: Path):
        self.folder = folder

    def cards(self) -> list[Card]:
        """Every model that is here with all its parts, by name."""
        found: dict[str, tuple[Card, set[Path]]] = {}
        for folder, card in self._parts().items():
            if card:
                found.setdefault(card.name, (card, set()))[1].add(folder)
        return [card for _, (card, parts) in sorted(found.items()) if parts >= set(self.folders(card))]

    def unreadable(self) -> list[Path]:
        """Folders that are no part of a model: without a card, or with a damaged one."""
        return [folder for folder, card in self._parts().items() if card is None]

    def _parts(self) -> dict[Path, Card | None]:
        """The card of every folder that stands here."""
        folders = [path for path in sorted(self.folder.glob("*/")) if not path.name.startswith(UNFINISHED)]
        return {folder: _card(folder) for folder in folders}

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

    def folders(self, card: Card) -> list[Path]:
        """Where the parts of a model lie, or would."""
        return [self.folder / card.parts[part] for part in PARTS[card.role]]

    @contextmanager
    def workshop(self, name: str) -> Iterator[Path]:
        """A folder on the same disk in which a model is made, by one process at a time.

        It is gone once the model is made; what an error leaves in it is there for the next try.
        """
        room = self.folder / f"{UNFINISHED}{name}"
        try:
            room.mkdir(parents=True, exist_ok=True)
            opened = os.open(room, os.O_RDONLY)
        except OSError as error:
            raise LodeError(
                f"cannot write to {self.folder}: {error.strerror}; {VARIABLE} names another place"
            ) from None
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            room.mkdir(exist_ok=True)  # taken away by one who had it until now
            yield room
            shutil.rmtree(room, ignore_errors=True)
        except BlockingIOError:
            raise LodeError(f"another process is at model {name}; wait until it is done") from None
        except OSError as error:
            raise LodeError(f"cannot write to {self.folder}: {error.strerror or error}") from None
        finally:
            os.close(opened)

    def unfinished(self) -> dict[str, int]:
        """Models whose pull was cut short, and the bytes that lie here of them."""
        return {folder.name.removeprefix(UNFINISHED): size(folder) for folder in self.folder.glob(f"{UNFINISHED}*/")}

    def put(self, card: Card, made: Path) -> None:
        """Take in the parts of a model, each a finished folder below `made`. Raises LodeError for other bytes."""
        for there in self.folders(card):
            seal(made / there.name)
            if there.exists() and (not (there / RECORD).is_file() or record(there) != record(made / there.name)):
                why = f"{there} holds another model, and is not replaced"
                raise LodeError(f"{why}; see lode models ls, and take it away with: lode models rm NAME")
        for there in self.folders(card):
            if not there.exists():
                (made / there.name).rename(there)
        sync(self.folder)

    def damage(self, card: Card) -> list[str]:
        """What is not as it was installed, in words; every byte is read again."""
        found = []
        for folder in self.folders(card):
            for name, digest in record(folder).items():
                file = folder / name
                if not file.is_file():
                    found.append(f"{file} is gone")
                elif sha256(file) != digest:
                    found.append(f"{file} is not what was installed")
        return found

    def remove(self, name: str) -> int:
        """Take away a model, or what there is of one; the bytes that this frees. Raises LodeError for none such."""
        parts = {name, *(f"{name}-{part}" for part in PARTS["image-text"])}
        folders = {
            folder for folder, card in self._parts().items() if (card.name == name if card else folder.name in parts)
        }
        folders |= {self.folder / f"{UNFINISHED}{name}"} if name in self.unfinished() else set()
        if not folders:
            raise LodeError(f"model {name} is not installed; what is: lode models ls")
        freed = sum(map(size, folders))
        with self.workshop(name) as room:
            for folder in folders - {room}:
                folder.rename(room / f"{UNFINISHED}{folder.name}")
        return freed


def record(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a part, as it was installed. Raises LodeError where that cannot be read."""
    try:
        return msgspec.json.decode(_read(folder / RECORD), type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise LodeError(f"{folder / RECORD} is damaged: {error}; lode models rm takes the model away") from None


def seal(folder: Path) -> None:
    """Note the digests of a finished part, and see all of it to the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    digests = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    (folder / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(digests)) + b"\n")
    for path in {*files, folder / RECORD, *(path.parent for path in files), folder}:
        sync(path)


def sha256(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def sync(path: Path) -> None:
    """See a file or a folder to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _card(folder: Path) -> Card | None:
    """The card in a folder; None where there is none that can be read."""
    try:
        return read_card((folder / CARD).read_bytes(), folder)
    except (OSError, LodeError):
        return None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LodeError(f"cannot read {file}: {error.strerror}") from None
