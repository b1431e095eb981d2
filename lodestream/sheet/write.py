"""Writes a contact sheet: a PNG or an HTML page, by the name of its file; whole or not at all."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from lodestream.errors import LodeError
from lodestream.objects import Objects
from lodestream.sheet import html, png
from lodestream.sheet.cells import Section
from lodestream.sheet.pictures import pictures

KINDS = (".png", ".html")


def check(path: Path) -> Path:
    """The path itself. Raises LodeError where no sheet can be written there."""
    if path.suffix.lower() not in KINDS:
        raise LodeError(f"{path}: a sheet is a picture or a page, so its name ends with {' or '.join(KINDS)}")
    if not path.parent.is_dir():
        raise LodeError(f"{path}: there is no folder {path.parent}")
    return path


async def write(objects: Objects, title: str, sections: Sequence[Section], path: Path) -> None:
    """Write it, in place of what has that name. Raises LodeError and Outage."""
    check(path)
    cells = [cell for section in sections for cell in section.cells]
    kind = png if path.suffix.lower() == ".png" else html
    frames = await pictures(objects, cells, kind.PICTURE)
    await asyncio.to_thread(_write, title, sections, frames, path)


def _write(title: str, sections: Sequence[Section], frames: Sequence[Image.Image], path: Path) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.suffix.lower() == ".png":
            png.draw(title, sections, frames).save(part, "PNG")
        else:
            part.write_text(html.page(title, sections, frames))
        part.replace(path)
    except OSError as error:
        raise LodeError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
