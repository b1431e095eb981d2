"""A contact sheet as one PNG."""

from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

from lodestream.sheet.cells import Cell, Section

COLUMNS = 6
PICTURE = (240, 136)
"""Box, in pixels, that a frame is fitted into."""
GAP, JOIN = 12, 4
"""Pixels between groups, and between the frames of one."""
LINE = 16
"""Pixels from one line of words to the next."""
TITLE, HEAD = 56, 44
"""Pixels of the line above everything, and of the one above a section that has a title."""
BACKGROUND, PAPER, INK, FAINT = "#14161a", "#1d2026", "#f2f2f0", "#9aa3ad"
TONES = {"good": "#7fd18b", "bad": "#f07178", "warn": "#f0a44b"}
WIDTH = GAP + COLUMNS * (PICTURE[0] + GAP)


def draw(title: str, sections: Sequence[Section], frames: Sequence[Image.Image]) -> Image.Image:
    """The sheet; `frames` are the pictures of all cells of all sections, in order."""
    lines = max((len(cell.words) for section in sections for cell in section.cells), default=0)
    sheet = _Sheet(sections, PICTURE[1] + 8 + LINE * lines)
    sheet.title(title)
    left = iter(frames)
    for section in sections:
        sheet.section(section, left)
    return sheet.image


def rows(section: Section) -> list[list[Sequence[Cell]]]:
    """Groups by row: as many as fit."""
    made: list[list[Sequence[Cell]]] = []
    room = 0
    for group in section.groups:
        if room < len(group):
            made.append([])
            room = COLUMNS
        made[-1].append(group)
        room -= len(group)
    return made


class _Sheet:
    """The picture being drawn, from top to bottom."""

    def __init__(self, sections: Sequence[Section], cell: int):
        """`cell` is the height of a frame with its words."""
        high = sum((HEAD if section.title else 0) + len(rows(section)) * (cell + GAP) for section in sections)
        self.image, self.cell_height, self.y = Image.new("RGB", (WIDTH, TITLE + high), BACKGROUND), cell, TITLE
        self.pen = ImageDraw.Draw(self.image)
        self.small, self.large = ImageFont.load_default(13), ImageFont.load_default(22)
        self.middle = ImageFont.load_default(17)

    def title(self, text: str) -> None:
        """The line above everything."""
        self.pen.text((GAP, 16), elide(text, self.large, WIDTH - 2 * GAP), INK, self.large)

    def section(self, section: Section, frames: "_Frames") -> None:
        """Its head, and its frames row by row."""
        if section.title:
            self.pen.text((GAP, self.y + 12), section.title, INK, self.middle)
            start = 2 * GAP + round(self.middle.getlength(section.title))
            note = elide(section.note, self.small, WIDTH - start - GAP)
            self.pen.text((start, self.y + 16), note, FAINT, self.small)
            self.y += HEAD
        for row in rows(section):
            x = GAP
            for group in row:
                self._group(x, group, frames)
                x += len(group) * (PICTURE[0] + GAP)
            self.y += self.cell_height + GAP

    def _group(self, x: int, group: Sequence[Cell], frames: "_Frames") -> None:
        width = len(group) * (PICTURE[0] + JOIN) - JOIN
        self.pen.rectangle((x, self.y, x + width - 1, self.y + self.cell_height - 1), fill=PAPER)
        for cell in group:
            self._cell(x, cell, next(frames))
            x += PICTURE[0] + JOIN

    def _cell(self, left: int, cell: Cell, frame: Image.Image) -> None:
        middle = (left + (PICTURE[0] - frame.width) // 2, self.y + (PICTURE[1] - frame.height) // 2)
        self.image.paste(frame, middle)
        for number, words in enumerate(cell.words):
            last = number == len(cell.words) - 1
            ink = FAINT if number == 0 else TONES.get(cell.tone, INK) if last else INK
            at = (left + 8, self.y + PICTURE[1] + 4 + LINE * number)
            self.pen.text(at, elide(words, self.small, PICTURE[0] - 16), ink, self.small)


_Frames = Iterator[Image.Image]


def elide(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """`text`, its middle replaced by three dots where it is wider than `width` pixels."""
    cut = text
    while len(cut) > 8 and font.getlength(cut) > width:
        keep = (len(cut) - 3 - 1) // 2
        cut = text[:keep] + "..." + text[-keep:]
    return cut
