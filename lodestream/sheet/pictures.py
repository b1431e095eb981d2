"""The frames of a sheet, small: read by range, decoded, with their boxes drawn."""

import asyncio
import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from lodestream.objects import Objects
from lodestream.preview import Found, draw
from lodestream.sheet.cells import Cell

AT_ONCE = 8
"""Frames that are read at the same time."""
EMPTY, FAINT = "#2a2e36", "#9aa3ad"


async def pictures(objects: Objects, cells: Sequence[Cell], box: tuple[int, int]) -> list[Image.Image]:
    """Each frame, fitted into a box of pixels; one that cannot be shown says so in its place. Raises Outage."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(cell: Cell) -> Image.Image:
        async with turns:
            try:
                jpeg = await objects.get(cell.shard_key, cell.byte_offset, cell.byte_length)
            except (KeyError, ValueError):
                return _instead("not in the object store", box)
            return await asyncio.to_thread(_small, jpeg, cell.boxes, box)

    return list(await asyncio.gather(*map(one, cells)))


def _small(jpeg: bytes, boxes: Sequence[Found], box: tuple[int, int]) -> Image.Image:
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as frame:
            full = frame.size
            frame.draft("RGB", (2 * box[0], 2 * box[1]))
            small = frame.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError):
        return _instead("no readable JPEG", box)
    small.thumbnail(box, Image.Resampling.LANCZOS)
    wide, high = small.width / full[0], small.height / full[1]
    scaled = [b._replace(corners=(b.corners[0] * wide, b.corners[1] * high, b.corners[2] * wide, b.corners[3] * high))
              for b in boxes]  # fmt: skip
    return draw(small, scaled)


def _instead(words: str, box: tuple[int, int]) -> Image.Image:
    made = Image.new("RGB", box, EMPTY)
    ImageDraw.Draw(made).text((box[0] / 2, box[1] / 2), words, FAINT, ImageFont.load_default(13), anchor="mm")
    return made
