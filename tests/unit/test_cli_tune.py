"""`lode tune`: how scores lie, what another threshold would keep, and pictures around it."""

import asyncio
import re
from pathlib import Path

import pytest

from lodestream.cli.tune_axis import case, edges
from tests.support.cli import run_lode
from tests.support.seen_home import fill


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos that a flow has filtered, deduplicated and looked for things in."""
    folder = tmp_path_factory.mktemp("home")
    asyncio.run(fill(folder))
    return folder


def bars(text: str) -> dict[str, list[str]]:
    """The lines of a histogram by where they begin: the numbers in them, and what is noted."""
    lines = (line.split() for line in text.splitlines() if re.match(r" *[\d.]+  ", line))
    return {line[0]: [word for word in line[1:] if not set(word) <= set("█░")] for line in lines}


def test_the_best_score_of_a_filter(home: Path) -> None:
    said = run_lode(home, "tune", "demo", "good", "--threshold", "0.6").stdout
    assert said.startswith("demo good, 30 frames: the best score of the prompts to keep\n")
    found = bars(said)
    assert found["0.25"] == ["0", "3", "21"]
    assert found["0.3"] == ["3", "0", "18", "<-", "today"]
    assert found["0.6"] == ["0", "0", "12", "<-", "asked"]
    assert found["0.9"] == ["6", "0", "6"]
    assert "\ntoday: threshold 0.3; 18 kept\n0.6: 12 would be kept, 6 fewer and 0 more\n" in said
    assert re.search(r"\na red ball +keep +30 +18 ", said)
    assert re.search(r"\ntext +drop +0 +0 ", said)


def test_a_lower_threshold_keeps_no_frame_that_fits_a_prompt_to_drop_better(home: Path) -> None:
    said = run_lode(home, "tune", "demo", "good", "--threshold", "0.05").stdout
    assert "0.05: 21 would be kept, 0 fewer and 3 more" in said  # 0.27 is over the 0.25 of that prompt; 0.22 is not


def test_a_prompt_by_itself(home: Path) -> None:
    said = run_lode(home, "tune", "demo", "good", "--prompt", "text").stdout
    assert list(bars(said).values()) == [["18", "12", "30"]]
    assert "today: no threshold" in said
    assert "not asked for 'cat'; its prompts: 'a red ball', 'text'" in run_lode(
        home, "tune", "demo", "good", "--prompt", "cat", status=1
    ).stderr  # fmt: skip


def test_a_measure(home: Path) -> None:
    said = run_lode(home, "tune", "demo", "good", "--measure", "sharpness", "--threshold", "3").stdout
    found = bars(said)
    assert found["5"] == ["0", "6", "24"]
    assert found["40"] == ["0", "0", "18", "<-", "today"]
    assert "today: min_sharpness 40; 18 kept\n3: 24 would be kept, 0 fewer and 6 more\n" in said
    said = run_lode(home, "tune", "demo", "good", "--measure", "brightness").stdout
    assert "today: no min_brightness; 18 kept" in said
    assert "nothing that node good of flow demo has judged has nonsense" in run_lode(
        home, "tune", "demo", "good", "--measure", "nonsense", status=1
    ).stderr  # fmt: skip


def test_the_similarity_of_duplicates(home: Path) -> None:
    said = run_lode(home, "tune", "demo", "new", "--threshold", "0.95").stdout
    assert bars(said)["0.92"] == ["0", "5", "<-", "today"]
    assert "0.95: 3 would be known, 2 fewer and 0 more" in said
    assert "a lower threshold needs a run" in said


def test_the_boxes_of_a_label(home: Path) -> None:
    said = run_lode(home, "tune", "demo", "things").stdout
    assert re.search(r"\nball +6 +6 ", said)
    said = run_lode(home, "tune", "demo", "things", "--label", "ball", "--threshold", "0.7").stdout
    assert said.startswith("demo things, 6 boxes: the score of boxes of 'ball'")
    assert "0.7: 3 would be found, 3 fewer and 0 more" in said


def test_pictures_around_a_threshold(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "around.html"
    said = run_lode(home, "tune", "demo", "good", "--threshold", "0.5", "--sheet", str(file), "--limit", "8")
    assert said.stderr == f"{file}: 8 frames around 0.5\n"
    shown = re.findall(r'<span class="(?:good|bad)">([^<]*)', file.read_text())
    assert [words.split(",")[0] for words in shown] == [*["0.55"] * 3, "0.7", *["0.31"] * 3, "0.27"]
    assert shown[-1] == "0.27, dropped: below threshold 0.27"
    run_lode(home, "tune", "demo", "new", "--sheet", str(file), "--threshold", "0.95")
    groups = [group.count("<figure>") for group in file.read_text().split('<div class="group">')[1:]]
    assert groups == [2] * 5
    run_lode(home, "tune", "demo", "things", "--sheet", str(file))
    assert "0.36 hand" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "frames"], "node 'frames' of flow demo has judged no frames; those that have: good, new, things"),
        (["demo", "good", "--label", "ball"], "--label is not for node good, which filters"),
        (["demo", "new", "--measure", "sharpness"], "--measure is not for node new, which compares frames"),
        (["demo", "good", "--sheet", "x.jpg"], "ends with .png or .html"),
        (["demo", "good", "--measure", "brightness", "--sheet", "x.png"], "has no such threshold today"),
    ],
)
def test_what_cannot_be_tuned_is_said(home: Path, arguments: list[str], said: str) -> None:
    assert said in run_lode(home, "tune", *arguments, status=1).stderr


def test_two_kinds_of_numbers_at_a_time_are_refused(home: Path) -> None:
    said = run_lode(home, "tune", "demo", "good", "--prompt", "text", "--measure", "sharpness", status=2)
    assert "one of --prompt, --measure and --label at a time" in said.stderr


@pytest.mark.parametrize(
    ("values", "starts"),
    [
        ((0.0, 0.5, 1.0), [round(0.05 * n, 12) for n in range(20)]),
        ((0.5, 0.5, 0.5), [0.5]),
        ((-0.2, 0.0, 0.2), [round(0.02 * n, 12) for n in range(-10, 10)]),
        ((1e-3, 2e-3, 0.9), [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]),
        ((1e-30, 1e-6, 5.0), [0, 5e-6, *(float(f"{d}e{p}") for p in range(-5, 1) for d in (1, 2, 5))][:-1]),
        ((3.0, 40.0, 2000.0), [2, 5, 10, 20, 50, 100, 200, 500, 1000]),
    ],
)
def test_bars_begin_at_round_numbers(values: tuple[float, float, float], starts: list[float]) -> None:
    assert edges(*values) == pytest.approx(starts)


def test_a_threshold_begins_a_bar() -> None:
    assert edges(0, 0.5, 1, [0.33, 0.4])[6:9] == [0.3, 0.33, 0.35]
    assert case("v", [0.0, 0.1, 0.2]) == "case when v < 0.1 then 0 when v < 0.2 then 1 else 2 end"
    assert case("v", [0.5]) == "0"
