"""The flow files that come with Lodestream, and those that `lode flow new` writes, are right."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lodestream.errors import LodeError
from lodestream.flow.lint import lint
from lodestream.flow.load import LONGEST, read
from lodestream.flow.new import new
from lodestream.units import Duration

FLOWS = sorted((Path(__file__).parents[2] / "flows").glob("*.yaml"))


@pytest.mark.parametrize("file", FLOWS, ids=lambda file: file.stem)
def test_an_example_is_right_and_named_after_its_file(file: Path) -> None:
    flow, problems = lint(read(file))
    assert flow, [problem.show(file.name) for problem in problems]
    assert flow.name == file.stem


def test_there_are_examples() -> None:
    assert len(FLOWS) >= 3


def test_a_new_flow_is_right() -> None:
    text = new("cats", ["cat jumps", "https://example.org/?q=a#b"], "2s")
    flow, problems = lint(text)
    assert flow, problems
    assert [node.declaration.type for node in flow.nodes.values()] == ["intake", "discover", "fetch", "extract"]
    assert flow.nodes["frames"].settings.every == Duration(2)
    assert "#   lode seed cats 'cat jumps'\n#   lode seed cats 'https://example.org/?q=a#b'\n" in text


@given(st.lists(st.text(), max_size=3))
def test_no_seed_can_break_a_new_flow(seeds: list[str]) -> None:
    flow, problems = lint(new("cats", seeds))
    assert flow, problems


@pytest.mark.parametrize(("name", "every"), [("two words", "1s"), ("cats", "soon"), ("cats", "1s\nnodes: {}")])
def test_a_new_flow_of_bad_values_does_not_pass_the_lint(name: str, every: str) -> None:
    assert lint(new(name, [], every))[0] is None


def test_a_file_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    for name, data, told in [
        ("absent", None, "cannot read .*absent: No such file"),
        ("binary", b"\xff\xfe\x00", "is not text in UTF-8"),
        ("huge", b"x" * (5 * LONGEST), "is longer than 256 KiB"),
    ]:
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(LodeError, match=told):
            read(tmp_path / name)
    with pytest.raises(LodeError, match="cannot read"):
        read(tmp_path)
