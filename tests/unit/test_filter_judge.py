"""Why a frame is dropped, and in which words."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from lodestream.flow.lint import lint
from services.filter.judge import No, Score, not_best, of_measures, of_scores, of_size
from services.filter.node import NODE
from services.filter.settings import Filter
from tests.support.catalog import shard

BALL, SQUARE, SLIDE = "a red ball", "a blue square", "text slide"


def settings(**given: Any) -> Filter:
    return NODE.read_settings(given)  # type: ignore[no-any-return]


def scores(probabilities: Sequence[float]) -> list[Score]:
    return [Score(p, p) for p in probabilities]


def text(no: No | None) -> str:
    return no.text if no else ""


@pytest.mark.parametrize(
    ("given", "measures", "said"),
    [
        ({"min_sharpness": 40}, {"sharpness": 12.1}, "sharpness 12.1 under 40"),
        ({"min_sharpness": 40}, {"sharpness": 40.0}, ""),
        ({"min_brightness": 20.5}, {"brightness": 20.4}, "brightness 20.4 under 20.5"),
        ({"max_brightness": 200}, {"brightness": 250.0}, "brightness 250 over 200"),
        ({"max_brightness": 200}, {"brightness": 200.0}, ""),
        ({"min_contrast": 10}, {"contrast": 3.0}, "contrast 3 under 10"),
        ({"min_entropy": 2}, {"entropy": 1.25}, "entropy 1.25 under 2"),
        ({"max_black_bars": 0.2}, {"black_bars": 0.25}, "black bars 0.25 over 0.2"),
        ({"max_solid": 0.9}, {"solid": 0.991}, "solid 0.991 over 0.9"),
        ({"min_sharpness": 1, "min_entropy": 8}, {"sharpness": 0.0, "entropy": 0.0}, "sharpness 0 under 1"),
        ({"min_sharpness": 2e6}, {"sharpness": 1234567.8}, "sharpness 1234567.8 under 2e+06"),
        ({}, {"sharpness": 0.0, "black_bars": 1.0}, ""),
    ],
)
def test_measures(given: dict[str, float], measures: dict[str, float], said: str) -> None:
    assert text(of_measures(measures, settings(**given))) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_width": 641}, "width 640 under 641"),
        ({"min_height": 360, "min_width": 640}, ""),
        ({"min_height": 361}, "height 360 under 361"),
        ({"max_aspect": 1.5}, "aspect 1.778 over 1.5"),
        ({"min_aspect": 2}, "aspect 1.778 under 2"),
    ],
)
def test_sizes(given: dict[str, float], said: str) -> None:
    of = msgspec.structs.replace(shard("web-1"), width=640, height=360)
    assert text(of_size(of, settings(**given))) == said


@pytest.mark.parametrize(
    ("given", "keep", "drop", "said"),
    [
        ({}, [0.31, 0.2], [], "no prompt over 0.5: best 'a red ball' 0.31"),
        ({}, [0.31, 0.5], [], ""),
        ({"threshold": 0.2}, [0.31, 0.1], [], ""),
        ({"threshold": 0.001}, [0.0000123, 0.0], [], "no prompt over 0.001: best 'a red ball' 1.2e-05"),
        ({}, [0.6, 0.7], [0.8], "closer to 'text slide' (0.8) than to 'a blue square' (0.7)"),
        ({}, [0.6, 0.7], [0.7], ""),
        ({"margin": 0.2}, [0.6, 0.7], [0.55], "'a blue square' (0.7) less than 0.2 over 'text slide' (0.55)"),
        ({"margin": 0.2}, [0.6, 0.8], [0.55], ""),
        ({}, [], [0.4999], ""),
        ({}, [], [0.5], "like 'text slide' (0.5)"),
    ],
)
def test_scores(given: dict[str, float], keep: list[float], drop: list[float], said: str) -> None:
    prompts = {"keep": [BALL, SQUARE][: len(keep)], "drop": [SLIDE][: len(drop)]}
    assert text(of_scores(scores(keep), scores(drop), settings(**prompts, **given))) == said


def test_probabilities_that_are_both_1_are_told_apart_by_what_they_came_from() -> None:
    asked = settings(keep=[BALL], drop=[SLIDE])
    assert of_scores([Score(1, 96.0)], [Score(1, 84.0)], asked) is None
    no = of_scores([Score(1, 84.0)], [Score(1, 96.0)], asked)
    assert text(no) == "closer to 'text slide' (1) than to 'a red ball' (1)"


def test_reasons_of_one_kind_are_counted_together() -> None:
    asked = settings(keep=[BALL, SQUARE], drop=[SLIDE], top_k=5)
    frames = [scores(row) for row in ((0.1, 0.2, 0), (0.3, 0.1, 0), (0.6, 0.5, 0.9), (0.5, 0.1, 0.7))]
    nos = [of_scores(keep, [drop], asked) for *keep, drop in frames]
    kinds = ["no prompt over 0.5"] * 2 + ["closer to a prompt to drop"] * 2
    assert [no.kind for no in nos if no] == kinds
    assert text(not_best(asked, "video")) == "not among the best 5 of its video"


FLOW = """
flow: balls
nodes:
  seeds:  {type: intake}
  find:   {type: discover, from: seeds}
  get:    {type: fetch, from: find}
  frames: {type: extract, from: get}
  good:   {type: filter, from: frames, SETTINGS}
"""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("top_k: 5", "top_k: ranks by how well `keep` fits, and there is no `keep`"),
        ("keep: [a ball, a ball]", "'a ball' stands there twice"),
        ("keep: [a ball], drop: [a ball]", "'a ball' stands there twice"),
        ("keep: [' ']", "a prompt without a word in it"),
        ("keep: [a ball], margin: 0.1", "both are needed"),
        ("min_brightness: 100, max_brightness: 20", "min_brightness: 100 is over max_brightness, 20"),
        ("min_aspect: 2, max_aspect: 1", "no frame is kept"),
        ("keep: [a ball], model: dinov3-vits16", "dinov3-vits16 reads no prompts"),
        ("min_brightness: 300", "min_brightness: expected number, 0 to 255, got 300"),
        ("sharpness: 40", "did you mean 'min_sharpness'?"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_runs(given: str, said: str) -> None:
    flow, problems = lint(FLOW.replace("SETTINGS", given))
    assert flow is None
    assert said in problems[0].message


def test_the_best_of_a_video_can_only_be_chosen_where_all_of_it_comes_in() -> None:
    best = "keep: [a ball], top_k: 5"
    assert lint(FLOW.replace("SETTINGS", best))[1] == []
    flow, problems = lint(
        FLOW.replace("SETTINGS", "min_sharpness: 4") + f"  few: {{type: filter, from: good, {best}}}\n"
    )
    assert flow is None
    assert [(p.line, "takes what extract gives" in p.message) for p in problems] == [(9, True)]


def test_the_port_for_nothing_is_wired_by_its_name_only() -> None:
    more = "  better: {type: filter, from: good}\n  worse: {type: filter, from: good.empty}\n"
    flow, problems = lint(FLOW.replace("SETTINGS", "min_sharpness: 4") + more)
    assert flow, problems
    assert [wire.port for name in ("better", "worse") for wire in flow.nodes[name].wires] == ["kept", "empty"]


def test_a_model_of_ones_own_is_not_refused() -> None:
    assert lint(FLOW.replace("SETTINGS", "keep: [a ball], model: my-own"))[1] == []
