"""The contact sheet: which frames it shows, and that they are where they should be in the picture."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from lodestream.demo.sheet import Still, contact_sheet
from lodestream.errors import LodeError
from lodestream.objects.directory import Directory
from lodestream.preview import Found
from lodestream.sheet import html, png
from lodestream.sheet.cells import Cell, Section, clock, singles, spread
from lodestream.sheet.png import COLUMNS, GAP, HEAD, LINE, PICTURE, TITLE
from lodestream.sheet.write import write

RED, BLUE = (220, 20, 20), (20, 20, 220)
CAPTION = 8 + 2 * LINE
"""What the demo's two lines of words take."""


def jpeg(colour: tuple[int, int, int], size: tuple[int, int] = (64, 36)) -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "JPEG", quality=95)
    return out.getvalue()


async def sheet_of(folder: Path, pictures: list[tuple[str, int, bytes]]) -> Image.Image:
    """The sheet of frames (source, time, JPEG) that lie behind each other in one shard."""
    objects, stills, data = Directory(folder / "objects"), [], b"some tar header"
    for source, time_ms, picture in pictures:
        stills.append(Still("frames/shard.tar", len(data), len(picture), time_ms, source))
        data += picture
    await objects.put("frames/shard.tar", data)
    await contact_sheet(objects, stills, "a title", folder / "out" / "sheet.png")
    return Image.open(folder / "out" / "sheet.png").convert("RGB")


def middle(column: int, row: int) -> tuple[int, int]:
    """The pixel in the middle of one cell's picture."""
    left, top = GAP + column * (PICTURE[0] + GAP), TITLE + row * (PICTURE[1] + CAPTION + GAP)
    return left + PICTURE[0] // 2, top + PICTURE[1] // 2


def near(pixel: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(a - b) < 25 for a, b in zip(pixel, colour, strict=True))


async def test_a_row_for_every_source_in_order_of_time(tmp_path: Path) -> None:
    sheet = await sheet_of(tmp_path, [("b", 0, jpeg(BLUE)), ("a", 1000, jpeg(BLUE)), ("a", 0, jpeg(RED))])
    assert near(sheet.getpixel(middle(0, 0)), RED)
    assert near(sheet.getpixel(middle(1, 0)), BLUE)
    assert near(sheet.getpixel(middle(0, 1)), BLUE)
    assert sheet.size == (GAP + COLUMNS * (PICTURE[0] + GAP), TITLE + 2 * (PICTURE[1] + CAPTION + GAP))


async def test_a_tall_or_large_picture_is_fitted_into_its_box(tmp_path: Path) -> None:
    sheet = await sheet_of(tmp_path, [("tall", 0, jpeg(RED, (90, 1600))), ("wide", 0, jpeg(RED, (1920, 200)))])
    (x, y), (x2, y2) = middle(0, 0), middle(0, 1)
    assert near(sheet.getpixel((x, y)), RED)
    assert not near(sheet.getpixel((x - PICTURE[0] // 4, y)), RED)
    assert near(sheet.getpixel((x2 - PICTURE[0] // 2 + 4, y2)), RED)
    assert not near(sheet.getpixel((x2, y2 - PICTURE[1] // 4)), RED)


async def test_something_is_written_under_each_picture(tmp_path: Path) -> None:
    sheet = await sheet_of(tmp_path, [("host/a/very/long/path" * 9, 0, jpeg(RED))])
    left, top = GAP, TITLE + PICTURE[1]
    caption = sheet.crop((left, top, left + PICTURE[0], top + CAPTION))
    beyond = sheet.crop((left + PICTURE[0], top, left + PICTURE[0] + GAP, top + CAPTION))
    assert len(caption.getcolors(1 << 16) or []) > 20
    assert len(beyond.getcolors() or []) == 1


async def stored(folder: Path, *jpegs: bytes) -> tuple[Directory, list[Cell]]:
    """Frames that lie behind each other in one shard, each with two lines of words."""
    objects, data, cells = Directory(folder / "objects"), b"", []
    for number, picture in enumerate(jpegs):
        cells.append(Cell("frames/shard.tar", len(data), len(picture), (f"frame {number}", "blurred"), "bad"))
        data += picture
    await objects.put("frames/shard.tar", data)
    return objects, cells


async def test_a_frame_that_is_gone_or_broken_costs_no_other(tmp_path: Path) -> None:
    objects, [broken, whole] = await stored(tmp_path, b"no JPEG", jpeg(RED))
    cells = [Cell("gone.tar", 0, 10), broken, whole]
    await write(objects, "a title", [Section("", singles(cells))], tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
    assert [near(sheet.getpixel(middle(column, 0)), RED) for column in range(3)] == [False, False, True]


async def test_what_belongs_together_stays_on_one_line(tmp_path: Path) -> None:
    objects, [red, blue] = await stored(tmp_path, jpeg(RED), jpeg(BLUE))
    groups = [[red], *[[red, blue]] * 3]
    section = Section("pairs", groups, "a note")
    assert [[len(group) for group in row] for row in png.rows(section)] == [[1, 2, 2], [2]]
    await write(objects, "a title", [section], tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
    assert sheet.height == TITLE + HEAD + 2 * (PICTURE[1] + CAPTION + GAP)
    x, y = middle(5, 0)
    assert not near(sheet.getpixel((x, y + HEAD)), BLUE)


async def test_boxes_lie_where_they_lay_in_the_frame(tmp_path: Path) -> None:
    objects, [cell] = await stored(tmp_path, jpeg(RED, (960, 544)))
    boxed = Cell(cell.shard_key, cell.byte_offset, cell.byte_length, boxes=(Found((400, 200, 800, 500), "x", 0.9),))
    await write(objects, "", [Section("", [[boxed]])], tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
    left, top = GAP + 400 // 4, TITLE + 350 // 4
    strip = [sheet.getpixel((x, top)) for x in range(left - 4, left + 5)]
    assert not all(near(pixel, RED) for pixel in strip)
    assert near(sheet.getpixel((left - 20, top)), RED)
    assert near(sheet.getpixel((left + 20, top)), RED)


async def test_a_page_holds_everything_and_runs_nothing(tmp_path: Path) -> None:
    objects, [cell] = await stored(tmp_path, jpeg(RED))
    evil = Cell(cell.shard_key, cell.byte_offset, cell.byte_length, ("<script>alert(1)</script>", 'a "word"'), "bad")
    await write(objects, "A <b>title", [Section("dropped", [[evil]], "1 of 1 & more")], tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text()
    assert "<script" not in page
    assert "A &lt;b&gt;title" in page
    assert "1 of 1 &amp; more" in page
    assert '<span class="bad">a &quot;word&quot;</span>' in page
    [source] = re.findall(r'src="([^"]+)"', page)
    kind, _, data = source.partition(",")
    assert kind == "data:image/jpeg;base64"
    frame = Image.open(io.BytesIO(base64.b64decode(data)))
    assert near(frame.getpixel((10, 10)), RED)
    assert html.PICTURE[0] >= frame.width


@pytest.mark.parametrize(
    ("name", "why"), [("sheet.gif", "ends with .png or .html"), ("no/sheet.png", "there is no folder")]
)
async def test_a_file_that_cannot_be_a_sheet_is_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(LodeError, match=why):
        await write(Directory(tmp_path), "", [], tmp_path / name)


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        (0, []),
        (1, [0]),
        (6, [0, 1, 2, 3, 4, 5]),
        (11, [0, 2, 4, 6, 8, 10]),
        (100, [0, 20, 40, 59, 79, 99]),
    ],
)
def test_frames_are_spread_evenly(available: int, chosen: list[int]) -> None:
    stills = [Still("k", 0, 1, time, "a") for time in range(available)]
    assert [still.time_ms for still in spread(stills, 6)] == chosen


@pytest.mark.parametrize(("ms", "text"), [(0, "0:00.000"), (61_040, "1:01.040"), (3_600_000, "60:00.000")])
def test_clock(ms: int, text: str) -> None:
    assert clock(ms) == text
