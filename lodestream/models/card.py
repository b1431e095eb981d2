"""A card: what an ONNX export is, exactly, and what its Triton models take and give once it is installed."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from lodestream.errors import LodeError

CARDS = Path(__file__).resolve().parents[2] / "triton_models" / "cards"
Role = Literal["image-text", "image", "open-detector", "detector"]
PARTS: dict[str, tuple[str, ...]] = {
    "image-text": ("image", "text"),
    "image": ("image",),
    "open-detector": ("detector",),
    "detector": ("detector",),
}
"""What each role consists of."""
PIXELS, MASK = "pixel_values", "pixel_mask"
"""Inputs of exports that are made in the graph: floats by channel, and which of them are no padding."""
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
Digest = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")]
Relative = Annotated[str, msgspec.Meta(pattern=r"^(?!.*(^|/)\.\.?(/|$))[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")]


class Tensor(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An input or an output: a dimension is a number, or the name of one that may vary."""

    name: str
    type: Literal["float32", "float16", "int64", "uint8"]
    shape: tuple[int | str, ...]


class File(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A file of the repository."""

    path: Relative
    sha256: Digest = ""
    """Empty where nobody has published it: then the first pull notes what it saw, under the pinned revision."""
    bytes: int = 0
    """Its size; 0 where it is not known either."""


class Raw(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One graph as it was exported."""

    file: Relative
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    gives: dict[str, str]
    """The outputs that are kept, and what they are called in Triton."""


class Card(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A model by its name in a flow file."""

    name: Name
    role: Role
    summary: str
    repo: str = ""
    """On the Hugging Face Hub; empty for one that is made here or brought by a person."""
    revision: str = ""
    """A commit; a branch where that is not known, and then the digests of the files pin it."""
    licence: str
    note: str = ""
    """What a person should know of it before they get it."""
    gated: bool = False
    """Whether its licence has to be accepted at the Hub before it can be had."""
    files: tuple[File, ...] = ()
    tokenizer: Relative | None = None
    """The file of the text tokenizer: a tokenizer.json, or a vocab.txt of BERT's."""
    parts: dict[str, Name]
    """Triton's names of its models by what they are: `image`, `text`, `detector`."""
    raw: dict[str, Raw]
    """The exported graph of each part."""
    height: int
    width: int
    """Of the picture that it looks at, in pixels."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of a pixel between 0 and 1, by channel (red, green, blue)."""
    resample: Literal["bilinear", "bicubic"] = "bilinear"
    dim: int = 0
    """Length of an embedding; 0 for a detector."""
    logit_scale: float = 0.0
    logit_bias: float = 0.0
    """A picture and a text agree with the probability sigmoid(logit_scale * cosine + logit_bias)."""
    labels: tuple[str, ...] = ()
    """Of a closed detector, by class."""
    text_length: int = 0
    """Tokens of a text, filled up with padding; 0 where no text is read."""
    text_pad: int = 0
    """The token that fills a text up."""
    max_batch: int = 32
    """Rows that Triton puts together at most."""

    def __post_init__(self) -> None:
        wanted = set(PARTS[self.role])
        if set(self.parts) != wanted or set(self.raw) != wanted:
            raise ValueError(f"parts and raw of a card of role {self.role} are {', '.join(sorted(wanted))}")
        if self.role in ("image-text", "open-detector") and not (self.tokenizer and self.text_length):
            raise ValueError(f"a card of role {self.role} has a tokenizer and a text_length")

    @property
    def texts(self) -> str:
        """The part that reads text, and holds the tokenizer; empty where none does."""
        return {"image-text": "text", "open-detector": "detector"}.get(self.role, "")

    @property
    def bytes(self) -> int:
        """What there is to get; 0 where that is not known of every file."""
        sizes = [file.bytes for file in self.files]
        return sum(sizes) if all(sizes) else 0


def read_card(data: bytes, where: object) -> Card:
    """A card from JSON. Raises LodeError, which says what is wrong in it."""
    try:
        return msgspec.json.decode(data, type=Card)
    except msgspec.MsgspecError as error:
        raise LodeError(f"{where} is no card of a model: {error}") from None


@cache
def known_cards() -> dict[str, Card]:
    """Every model that Lodestream knows by name, whether it is here or not; in the order of their names."""
    from lodestream.models.standins import STANDINS

    cards = [read_card(path.read_bytes(), path) for path in CARDS.glob("*.json")]
    return {card.name: card for card in sorted([*cards, *STANDINS.values()], key=lambda card: card.name)}


def known_card(name: str) -> Card:
    """The card of a model. Raises LodeError where there is none of that name."""
    cards = known_cards()
    if name not in cards:
        raise LodeError(f"no model {name!r}; there are: {', '.join(cards)}")
    return cards[name]
