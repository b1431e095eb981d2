"""Stand-ins: small models made here, for tests and the demo, that truly see colours and shapes.

Each has the inputs and outputs of the export whose place it takes, so that taking the real one is a name in a flow.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lodestream.models.card import CARDS, MASK, PIXELS, Card, Raw, Tensor, read_card
from lodestream.models.shelf import Shelf

if TYPE_CHECKING:
    from onnx import ModelProto

REAL = {
    "standin-siglip2": "siglip2-base-224",
    "standin-dinov3": "dinov3-vits16",
    "standin-grounding-dino": "grounding-dino-tiny",
    "standin-dfine": "dfine-s",
}
"""Whose place each takes."""
SIDE = 256
"""Pixels of the square that the detectors look at: less than the real ones, which need more."""
CLASSES = {"ball": "sports ball", "square": "tv", "triangle": "kite"}
"""What a shape is called by a detector that knows the classes of COCO."""


def install(name: str, folder: Path) -> Card:
    """Make a stand-in and install it into a models folder, unless it is there; about a second.

    Raises KeyError for another name.
    """
    from lodestream.models.install import install as put

    shelf, card = Shelf(folder), STANDINS[name]
    for there in shelf.cards():
        if there.name == name:
            return there
    with tempfile.TemporaryDirectory() as made:
        export(card, Path(made))
        put(card, Path(made), shelf)
    return card


def export(card: Card, folder: Path) -> None:
    """Write the files of a stand-in as an export of the real one would lie there."""
    import onnx

    for part, raw in card.raw.items():
        (folder / raw.file).parent.mkdir(parents=True, exist_ok=True)
        onnx.save(_DRAW[card.name, part](card), folder / raw.file)
    if card.tokenizer:
        from lodestream.models.drawn import words

        text = words.siglip_tokenizer() if card.role == "image-text" else words.bert_tokenizer()
        (folder / card.tokenizer).write_text(text)


def _card(name: str) -> Card:
    """The card of the real one, with what a stand-in has of its own."""
    real = read_card((CARDS / f"{REAL[name]}.json").read_bytes(), REAL[name])
    size = {"height": SIDE, "width": SIDE} if real.role.endswith("detector") else {}
    return msgspec.structs.replace(
        real,
        name=name,
        summary=f"stand-in for {real.name}: sees coloured balls, squares and triangles; made here in a second",
        repo="",
        revision="",
        licence="as Lodestream",
        gated=False,
        note="",
        files=(),
        tokenizer=real.tokenizer and "tokenizer.json",
        raw={part: _open(raw) for part, raw in real.raw.items()},
        parts={part: model.replace(real.name, name) for part, model in real.parts.items()},
        max_batch=32,
        **size,
    )


def _open(raw: Raw) -> Raw:
    """As exported, with any number of pictures of any size where the real one may take but one."""
    pictures = {PIXELS: {0: "batch_size", 2: "height", 3: "width"}, MASK: {0: "batch_size", 1: "height", 2: "width"}}

    def opened(tensor: Tensor) -> Tensor:
        names = pictures.get(tensor.name, {0: "batch_size"})
        return msgspec.structs.replace(tensor, shape=tuple(names.get(i, d) for i, d in enumerate(tensor.shape)))

    inputs, outputs = (tuple(opened(tensor) for tensor in tensors) for tensors in (raw.inputs, raw.outputs))
    return msgspec.structs.replace(raw, inputs=inputs, outputs=outputs)


def _siglip_image(card: Card) -> "ModelProto":
    from lodestream.models.drawn import siglip2

    return siglip2.image_tower(card.raw["image"])


def _siglip_text(card: Card) -> "ModelProto":
    from lodestream.models.drawn import siglip2

    return siglip2.text_tower(card.raw["text"])


def _dinov3(card: Card) -> "ModelProto":
    from lodestream.models.drawn import dinov3

    return dinov3.image_tower(card.raw["image"])


def _grounding_dino(card: Card) -> "ModelProto":
    from lodestream.models.drawn import detectors

    return detectors.open_detector(card.raw["detector"], card.mean, card.std)


def _dfine(card: Card) -> "ModelProto":
    from lodestream.models.drawn import detectors

    classes = {shape: card.labels.index(label) for shape, label in CLASSES.items()}
    return detectors.closed_detector(card.raw["detector"], classes)


STANDINS = {name: _card(name) for name in REAL}
_DRAW: "dict[tuple[str, str], Callable[[Card], ModelProto]]" = {
    ("standin-siglip2", "image"): _siglip_image,
    ("standin-siglip2", "text"): _siglip_text,
    ("standin-dinov3", "image"): _dinov3,
    ("standin-grounding-dino", "detector"): _grounding_dino,
    ("standin-dfine", "detector"): _dfine,
}
