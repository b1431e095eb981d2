"""`lode sheet`: which frames it shows of a flow, beside each other and with what under them."""

import asyncio
import re
from pathlib import Path

import pytest
from PIL import Image

from tests.support.cli import run_lode
from tests.support.seen_home import fill


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos that a flow has filtered, deduplicated and looked for things in."""
    folder = tmp_path_factory.mktemp("home")
    asyncio.run(fill(folder))
    return folder


def page_of(home: Path, folder: Path, *arguments: str) -> str:
    """The page of a sheet without its pictures."""
    run_lode(home, "sheet", "demo", "-o", str(folder / "sheet.html"), *arguments)
    return re.sub(r'"data:[^"]+"', '""', (folder / "sheet.html").read_text())


def captions(page: str, section: str = "") -> list[list[list[str]]]:
    """What stands under the pictures of a section, group by group."""
    part = next(p for p in page.split("<section>")[1:] if section in p.split("</h2>")[0])
    groups = part.split('<div class="group">')[1:]
    return [[re.findall(r"<span[^>]*>([^<]*)", f) for f in group.split("<figure>")[1:]] for group in groups]


def test_what_is_kept_and_dropped_with_reasons_and_scores(home: Path, tmp_path: Path) -> None:
    page = page_of(home, tmp_path, "--node", "good")
    heads = re.findall(r"<h2>([^<]*)</h2>(?:<p>([^<]*)</p>)?", page)
    assert heads == [("good: kept", "18"), ("good: below threshold", "12"), ("good: blurred", "6")]
    kept = captions(page, "kept")
    assert kept[0] == [["v0", "0:00.000", "0.93 a red ball"]]
    assert kept[-1] == [["v2", "0:05.000", "0.31 a red ball"]]
    assert captions(page, "below")[0] == [["v0", "0:06.000", "0.27"]]


def test_a_few_are_spread_over_the_scores(home: Path, tmp_path: Path) -> None:
    page = page_of(home, tmp_path, "--node", "good", "--limit", "6")
    assert "<p>3 of 18</p>" in page
    scores = [float(figure[2].split()[0]) for [figure] in captions(page, "kept")]
    assert scores == [0.93, 0.86, 0.55]
    assert len(captions(page, "below")) == len(captions(page, "blurred")) == 1


def test_duplicates_stand_beside_what_they_repeat(home: Path, tmp_path: Path) -> None:
    page = page_of(home, tmp_path, "--node", "new")
    pairs = captions(page, "duplicates")
    assert pairs[0] == [
        ["v0", "0:02.000", "kept before"],
        ["v1", "0:02.000", "0.934 like the one beside it, vectors"],
    ]
    assert [len(pair) for pair in pairs] == [2] * 5
    assert len(captions(page, ": new")) == 10


def test_boxes_are_drawn_and_counted(home: Path, tmp_path: Path) -> None:
    page = page_of(home, tmp_path, "--node", "things")
    assert captions(page, "boxes")[0] == [["v0", "0:00.000", "1 ball, 1 hand"]]
    assert captions(page, "no box") == [[[f"v{n}", "0:04.000"]] for n in range(3)]


def test_a_picture_of_everything(home: Path, tmp_path: Path) -> None:
    said = run_lode(home, "sheet", "demo", "-o", str(tmp_path / "all.png"))
    assert said.stdout == f"{tmp_path / 'all.png'}\n"
    assert re.fullmatch(r"\d+ frames\n", said.stderr)
    with Image.open(tmp_path / "all.png") as sheet:
        assert sheet.height > sheet.width


def test_the_frames_of_a_query(home: Path, tmp_path: Path) -> None:
    query = "select frame_id as frame, score, sharpness as sharp from kept where score > 0.9 order by media_id desc"
    page = page_of(home, tmp_path, "--sql", query, "--limit", "2")
    assert captions(page) == [
        [["v2", "0:00.000", "score 0.93", "sharp 90"]],
        [["v1", "0:00.000", "score 0.93", "sharp 90"]],
    ]
    assert "<p>2 of 3 or more</p>" in page
    pairs = page_of(home, tmp_path, "--sql", "select frame_id as frame, repeats, similarity from duplicates")
    assert {len(group) for group in captions(pairs)} == {2}


def boxed_pixels(path: Path) -> int:
    """Pixels in the bright colour of a box, of the first picture."""
    with Image.open(path) as sheet:
        return sum(count for count, colour in sheet.convert("RGB").getcolors(1 << 24) or [] if min(colour[1:]) > 180)


def test_a_query_says_whose_boxes_are_drawn(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    seen = {}
    for name, more in {
        "none": ["--sql", "select 'v0_0' as frame"],
        "of a node": ["--sql", "select 'v0_0' as frame", "--node", "things"],
        "of the query": ["--sql", "select 'v0_0' as frame, 100 as x1, 50 as y1, 400 as x2, 200 as y2, 'x' as label"],
    }.items():
        run_lode(home, "sheet", "demo", "-o", str(path), *more)
        seen[name] = boxed_pixels(path)
    assert seen["none"] < seen["of a node"] < seen["of the query"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "the catalog knows no frames of a flow 'nothing'"),
        (["demo", "--node", "get"], "node 'get' of flow demo has given no frames; those that have: frames, good, new"),
        (["demo", "-o", "sheet.gif"], "its name ends with .png or .html"),
        (["demo", "--sql", "select score from kept"], "the query gives no column `frame`, only score"),
        (["demo", "--sql", "select 'x_1' as frame"], "has none of the frames that the query gives, such as x_1"),
        (["demo", "--sql", "select frame_id as frame from kept where false"], "there is no frame to show"),
        (["demo", "--sql", "selec"], "syntax error"),
    ],
)
def test_what_cannot_be_shown_is_said(home: Path, arguments: list[str], said: str) -> None:
    assert said in run_lode(home, "sheet", *arguments, status=1).stderr
