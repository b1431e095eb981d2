"""The palette says in words what the declarations say, and every declaration says enough."""

import re
from typing import Annotated, Any

import pytest
from msgspec import inspect

from lodestream.flow.lint import lint
from lodestream.node import Node, Settings, setting
from lodestream.palette import Entry, markdown, markdown_settings, palette, settings_of
from lodestream.registry import node_types
from lodestream.units import Duration, Size
from lodestream.words import words, yaml_value
from tests.support.flows import types

INSTALLED = sorted(node_types())


def chain(entries: dict[str, Entry]) -> str:
    """A flow of the examples of every type."""
    nodes = "\n".join(entry.example for entry in entries.values())
    return "flow: all\nnodes:\n" + re.sub(r"^", "  ", nodes, flags=re.M)


def test_an_entry() -> None:
    entry = palette(types())["cut"]
    assert (entry.summary, entry.takes, entry.gives) == (
        "cuts frames",
        ["media"],
        {"shard": "shard", "rejected": "rejected"},
    )
    assert [tuple(s) for s in entry.settings] == [
        ("every", "duration such as 500ms, 1s or 2m", "1s", "time between frames", True, [Duration(2)]),
        ("sampler", "even or keyframes", '"even"', "how frames are chosen", True, []),
        ("box", "list of 2: whole number, whole number", "null", "width and height", True, []),
        ("concurrency", "whole number, 1 to 1024", "null", "messages worked on at once in one worker", False, []),
    ]
    assert entry.example == "cut:\n  type: cut\n  from: get\n  every: 2s"


def test_a_setting_that_must_be_given() -> None:
    need = palette(types())["need"].settings[0]
    assert (need.name, need.kind, need.default) == ("keep", "text, length 1 at least", "")
    assert "| `keep` | text, length 1 at least | must be given | yes | what to keep |" in markdown_settings(
        palette(types())["need"]
    )


def test_the_table_for_readers() -> None:
    rows = markdown(types()).splitlines()
    assert len(rows) == 2 + len(types())
    assert rows[4] == (
        "| `get` | gets videos | candidate | media, rejected "
        "| `max_height`, `max_size`, `per_host`, `labels`, `concurrency` |"
    )


@pytest.mark.parametrize("kind", INSTALLED)
def test_every_setting_that_is_installed_has_help_and_a_type_in_words(kind: str) -> None:
    node = node_types()[kind]
    assert node.summary
    for s in settings_of(node):
        assert s.help, f"{kind}.{s.name} has no help"
        assert "Type" not in s.kind, f"{kind}.{s.name}: {s.kind}"
        assert s.default or s.name in [f.name for f in inspect.type_info(node.settings).fields if f.required]  # type: ignore[attr-defined]


@pytest.mark.parametrize("known", [node_types(), types()], ids=["installed", "small"])
def test_the_examples_make_a_flow(known: dict[str, Node]) -> None:
    usable = {name: entry for name, entry in palette(known).items() if name != "need"}
    flow, problems = lint(chain(usable), known)
    assert flow, problems


@pytest.mark.parametrize("kind", INSTALLED)
def test_defaults_can_be_written_into_a_flow(kind: str) -> None:
    entry = palette()[kind]
    given = "".join(f"    {s.name}: {s.default}\n" for s in entry.settings if s.default)
    start = next(name for name, node in node_types().items() if not node.takes)
    nodes = f"  x:\n    type: {kind}\n{given}"
    if entry.takes:
        nodes = f"  s: {{type: {start}}}\n{nodes}"
    _, problems = lint(f"flow: f\nnodes:\n{nodes}")
    assert [p for p in problems if "expected" in p.message] == []


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Size(2**30), "1GiB"),
        (Size(5 * 10**6), "5MB"),
        (Size(1001), "1001"),
        (Size(0), "0"),
        (Duration(0.5), "0.5s"),
        (Duration(90), "90s"),
        (None, "null"),
        (True, "true"),
        (0.3, "0.3"),
        (["a", "b"], '["a", "b"]'),
        ({"a": 1}, '{"a": 1}'),
        ("yes: no", '"yes: no"'),
    ],
)
def test_values_as_a_flow_file_has_them(value: Any, written: str) -> None:
    assert yaml_value(value) == written


class Odd(Settings, kw_only=True):
    """Settings of every shape."""

    ratio: Annotated[float, setting("r", gt=0, lt=1)]
    names: Annotated[list[str] | None, setting("n")] = None
    either: Annotated[float | str, setting("e")] = 1.0


def test_types_in_words() -> None:
    kinds = {f.name: words(f.type) for f in inspect.type_info(Odd).fields}  # type: ignore[attr-defined]
    assert kinds["ratio"] == "number, more than 0, less than 1"
    assert kinds["names"] == "list of (text)"
    assert kinds["either"] == "number or text"
