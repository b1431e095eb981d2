"""The demo's contact sheet: some frames of every video, with source and time under each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from lodestream.objects import Objects
from lodestream.preview import Found
from lodestream.sheet.cells import Cell, Section, clock, singles, spread
from lodestream.sheet.png import COLUMNS
from lodestream.sheet.write import write

TONES = {"new": "good", "damaged": "warn"}


@dataclass(frozen=True)
class Still:
    """One frame: where its JPEG lies, and what stands under it."""

    shard_key: str
    byte_offset: int
    byte_length: int
    time_ms: int
    source: str
    said: str = ""
    """What became of it: `new`, or why it does not go on."""
    boxes: tuple[Found, ...] = ()

    @classmethod
    def of(cls, *row: Any) -> "Still":
        """From a row of the catalog's; the boxes stand last, as records or None."""
        return cls(*row[:-1], boxes=tuple(Found(**box) for box in row[-1] or ()))  # type: ignore[misc]


async def contact_sheet(objects: Objects, stills: Sequence[Still], title: str, path: Path) -> None:
    """Write a PNG with a row for every source, its frames spread evenly. Raises LodeError."""
    ordered = sorted(stills, key=attrgetter("source", "time_ms"))
    rows = [spread(list(group), COLUMNS) for _, group in groupby(ordered, key=attrgetter("source"))]
    path.parent.mkdir(parents=True, exist_ok=True)
    await write(objects, title, [Section("", singles([_cell(still) for still in row])) for row in rows], path)


def _cell(still: Still) -> Cell:
    words = still.source, f"{clock(still.time_ms)}  {still.said}".rstrip()
    return Cell(still.shard_key, still.byte_offset, still.byte_length, words, TONES.get(still.said, ""), still.boxes)
