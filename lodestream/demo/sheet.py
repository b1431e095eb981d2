"""A contact sheet: some frames of every video, read by byte range, with source and time under each."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lodestream.objects import Objects

COLUMNS = 6
"""Frames of one video, at most."""
PICTURE = (240, 136)
"""Box, in pixels, that a frame is fitted into."""
GAP = 12
CAPTION = 40
TITLE = 56
BACKGROUND, PAPER, INK, FAINT, WARNING = "#14161a", "#1d2026", "#f2f2f0", "#9aa3ad", "#f0a44b"


@dataclass(frozen=True)
class Still:
    """One frame: where its JPEG lies, and what stands under it."""

    shard_key: str
    byte_offset: int
    byte_length: int
    time_ms: int
    source: str
    damaged: str = ""


async def contact_sheet(objects: Objects, stills: Sequence[Still], title: str, path: Path) -> None:
    """Write a PNG with a row for every source, its frames spread evenly. Raises KeyError where a shard is gone."""
    ordered = sorted(stills, key=attrgetter("source", "time_ms"))
    rows = [spread(list(group), COLUMNS) for _, group in groupby(ordered, key=attrgetter("source"))]
    pictures = [[await _read(objects, still) for still in row] for row in rows]
    await asyncio.to_thread(_write, rows, pictures, title, path)


def spread(stills: list[Still], count: int) -> list[Still]:
    """At most `count` of `stills`, evenly, the first and the last among them."""
    if len(stills) <= count:
        return stills
    return [stills[round(i * (len(stills) - 1) / (count - 1))] for i in range(count)]


def clock(time_ms: int) -> str:
    """`0:03.040`: minutes, seconds, milliseconds."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 60}:{seconds % 60:02}.{ms:03}"


async def _read(objects: Objects, still: Still) -> bytes:
    return await objects.get(still.shard_key, still.byte_offset, still.byte_length)


def _write(rows: list[list[Still]], pictures: list[list[bytes]], title: str, path: Path) -> None:
    sheet = _Sheet(len(rows))
    sheet.title(title)
    for y, (stills, row) in enumerate(zip(rows, pictures, strict=True)):
        for x, (still, jpeg) in enumerate(zip(stills, row, strict=True)):
            sheet.cell(x, y, still, jpeg)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.image.save(path, "PNG")


class _Sheet:
    """The picture being drawn: a title line and rows of cells."""

    def __init__(self, rows: int):
        width = GAP + COLUMNS * (PICTURE[0] + GAP)
        self.image = Image.new("RGB", (width, TITLE + rows * (PICTURE[1] + CAPTION + GAP)), BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)
        self.small, self.large = ImageFont.load_default(13), ImageFont.load_default(22)

    def title(self, text: str) -> None:
        """The line above everything."""
        self.draw.text((GAP, 16), _elide(text, self.large, self.image.width - 2 * GAP), INK, self.large)

    def cell(self, x: int, y: int, still: Still, jpeg: bytes) -> None:
        """One frame with its source and its time under it."""
        left, top = GAP + x * (PICTURE[0] + GAP), TITLE + y * (PICTURE[1] + CAPTION + GAP)
        self.draw.rectangle((left, top, left + PICTURE[0] - 1, top + PICTURE[1] + CAPTION - 1), fill=PAPER)
        with Image.open(io.BytesIO(jpeg)) as frame:
            frame.thumbnail(PICTURE, Image.Resampling.LANCZOS)
            self.image.paste(frame, (left + (PICTURE[0] - frame.width) // 2, top + (PICTURE[1] - frame.height) // 2))
        under = top + PICTURE[1] + 4
        self.draw.text((left + 8, under), _elide(still.source, self.small, PICTURE[0] - 16), FAINT, self.small)
        self.draw.text((left + 8, under + 16), clock(still.time_ms), INK, self.small)
        if still.damaged:
            self.draw.text((left + PICTURE[0] - 8, under + 16), "damaged", WARNING, self.small, anchor="ra")


def _elide(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """`text`, its middle replaced by three dots where it is wider than `width` pixels."""
    cut = text
    while len(cut) > 8 and font.getlength(cut) > width:
        keep = (len(cut) - 3 - 1) // 2
        cut = text[:keep] + "..." + text[-keep:]
    return cut
