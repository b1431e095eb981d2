"""A model that reads pictures and texts, as it is installed here: what its vectors are called, and its tokenizer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lodestream.errors import LodeError, Outage
from lodestream.inference.features import Feature, vectors
from lodestream.models.card import Card
from lodestream.models.shelf import MODEL, Shelf, record

if TYPE_CHECKING:
    from lodestream.job import Parts


class Installed(NamedTuple):
    """A model with an image tower."""

    card: Card
    image: Feature
    """The vectors of pictures."""
    text: str
    """The feature that vectors of texts are; empty where it reads none."""
    tokenizer: Path | None


async def installed(parts: Parts, name: str) -> Installed:
    """The model of that name. Raises Outage, with what to do, where it is not here."""
    if parts.models is None:
        raise Outage(f"no folder of models to look for {name} in: LODE_MODELS names none")
    try:
        return await asyncio.to_thread(_look, Shelf(parts.models), name)
    except (LodeError, OSError) as error:  # somebody may be removing it
        raise Outage(str(error)) from None


def _look(shelf: Shelf, name: str) -> Installed:
    card = shelf.card(name)
    if "image" not in card.parts:
        raise LodeError(f"model {name} makes no vectors of pictures: it is for {card.role}")
    made = {part: record(shelf.folder / folder)[MODEL] for part, folder in card.parts.items()}
    image = vectors(card, made["image"])
    if "text" not in made:
        return Installed(card, image, "", None)
    return Installed(card, image, f"{card.name}-text-{made['text'][:8]}", shelf.tokenizer(name))
