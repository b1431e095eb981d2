"""The contact sheet: which frames it shows, and that they are where they should be in the picture."""

import io
from pathlib import Path

import pytest
from PIL import Image

from lodestream.demo.sheet import CAPTION, COLUMNS, GAP, PICTURE, TITLE, Still, clock, contact_sheet, spread
from lodestream.objects.directory import Directory

RED, BLUE = (220, 20, 20), (20, 20, 220)


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


async def test_a_shard_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        await contact_sheet(Directory(tmp_path), [Still("gone.tar", 0, 10, 0, "a")], "", tmp_path / "sheet.png")


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
