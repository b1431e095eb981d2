"""From the files of an export to the folders that Triton serves."""

import shutil
from pathlib import Path

import msgspec
import onnx

from lodestream.models import config, graft
from lodestream.models.card import PARTS, Card
from lodestream.models.shelf import CARD, CONFIG, MODEL, TOKENIZER, Shelf

LICENCE = "LICENSE"
"""Begins the names of files that have to lie beside a model."""
LARGE = 1 << 30
"""Bytes from which on a graph's weights lie in a file beside it; protobuf ends at 2 GB."""
MADE = "made"
"""In a workshop: the finished parts."""


def install(card: Card, files: Path, shelf: Shelf) -> None:
    """Install a model from its export, whose files lie below `files` as its card names them. Raises LodeError."""
    with shelf.workshop(card.name) as room:
        build(card, files, room, shelf)


def build(card: Card, files: Path, room: Path, shelf: Shelf) -> None:
    """Make the parts of a model in a workshop, and put them on the shelf. Raises LodeError."""
    made = room / MADE
    shutil.rmtree(made, ignore_errors=True)  # of a process that was killed
    for part in PARTS[card.role]:
        _part(card, part, files, made / card.parts[part])
    shelf.put(card, made)


def _part(card: Card, part: str, files: Path, folder: Path) -> None:
    path = folder / MODEL
    path.parent.mkdir(parents=True)
    model = graft.graft(graft.load(files / card.raw[part].file), card, part)
    beside = model.ByteSize() > LARGE
    onnx.save(model, path, save_as_external_data=beside, location="model.onnx.data" if beside else None)
    (folder / CONFIG).write_text(config.config(card, part))
    (folder / "configs").mkdir()
    (folder / "configs" / f"{config.GPU}.pbtxt").write_text(config.config(card, part, "KIND_GPU"))
    (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)) + b"\n")
    if part == card.texts and card.tokenizer:
        _tokenizer(files / card.tokenizer, folder / TOKENIZER)
    for file in card.files:
        if Path(file.path).name.startswith(LICENCE):
            shutil.copyfile(files / file.path, folder / Path(file.path).name)


def _tokenizer(source: Path, target: Path) -> None:
    """As tokenizer.json; BERT's vocabulary of words is one in another form."""
    if source.suffix == ".json":
        shutil.copyfile(source, target)
        return
    from tokenizers.implementations import BertWordPieceTokenizer

    BertWordPieceTokenizer(str(source), lowercase=True).save(str(target))
