"""A contact sheet as one HTML file that needs no other, and runs nothing."""

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape

from PIL import Image

from lodestream.sheet.cells import Cell, Section

PICTURE = (480, 320)
"""Box, in pixels, that a frame is fitted into; shown at half of that, sharp on fine screens."""
STYLE = """
:root { color-scheme: dark }
body { background: #14161a; color: #f2f2f0; font: 14px/1.35 system-ui, sans-serif; margin: 1.5rem }
h1 { font-size: 1.4rem; font-weight: 600; margin: 0 0 .5rem }
h2 { font-size: 1.1rem; font-weight: 600; margin: 2rem 0 .2rem }
p { color: #9aa3ad; margin: 0 0 .8rem }
section > div { display: flex; flex-wrap: wrap; gap: 14px; align-items: stretch }
.group { display: flex; gap: 4px; background: #1d2026; border-radius: 6px; overflow: hidden }
figure { margin: 0; width: 240px }
img { display: block; width: 240px; height: 160px; object-fit: contain; background: #101216 }
figcaption { padding: 4px 8px 8px; overflow-wrap: anywhere; font-size: 12.5px }
figcaption span { display: block }
figcaption span:first-child { color: #9aa3ad }
.good { color: #7fd18b } .bad { color: #f07178 } .warn { color: #f0a44b }
"""


def page(title: str, sections: Sequence[Section], frames: Sequence[Image.Image]) -> str:
    """The page; `frames` are the pictures of all cells of all sections, in order."""
    left = iter(frames)
    body = "\n".join(_section(section, left) for section in sections)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title>\n<style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en">\n{head}\n<h1>{escape(title)}</h1>\n{body}\n</html>\n'


def _section(section: Section, frames: Iterator[Image.Image]) -> str:
    groups = "\n".join(
        f'<div class="group">{"".join(_cell(cell, next(frames)) for cell in group)}</div>' for group in section.groups
    )
    head = f"<h2>{escape(section.title)}</h2>" if section.title else ""
    note = f"<p>{escape(section.note)}</p>" if section.note else ""
    return f"<section>{head}{note}<div>\n{groups}\n</div></section>"


def _cell(cell: Cell, frame: Image.Image) -> str:
    out = io.BytesIO()
    frame.save(out, "JPEG", quality=88)
    source = f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
    words = [escape(line) for line in cell.words]
    tones = ["", *[""] * (len(words) - 2), cell.tone]
    said = "".join(f'<span class="{tone}">{line}</span>' for tone, line in zip(tones, words, strict=False))
    return f'<figure><img src="{source}" alt="{" ".join(words[:2])}"><figcaption>{said}</figcaption></figure>'
