"""What README and CONTRIBUTING say is still so: the table, the flow, and every command line."""

import re
import shlex

import click
import pytest

from lodestream.cli.entry import lode
from lodestream.flow.lint import lint
from lodestream.readme import FILE, with_table

PAGES = [FILE, FILE.with_name("CONTRIBUTING.md")]
_COMMAND = re.compile(r"^    \./lode (.+)$|`\./lode ([^`]+)`", re.MULTILINE)


def test_the_table_of_node_types_is_what_the_declarations_say() -> None:
    assert FILE.read_text() == with_table(FILE.read_text())


def test_a_readme_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("# Lodestream")


def test_the_flows_in_the_readme_can_be_deployed() -> None:
    texts = re.findall(r"^```yaml\n(.*?)^```$", FILE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(texts) > 1
    for text in texts:
        flow, problems = lint(text)
        assert problems == []
        assert flow is not None


def command_lines() -> list[list[str]]:
    """The words of every `lode ...` of the pages, indented or in backticks; of `a | b | c` only the first."""
    found = [block or inline for page in PAGES for block, inline in _COMMAND.findall(page.read_text())]
    words = [shlex.split(re.split(r";| \| ", line)[0], comments=True) for line in found]
    return [line for line in words if line]


def test_the_pages_have_command_lines() -> None:
    assert len(command_lines()) > 20


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_every_command_line_can_be_typed(words: list[str]) -> None:
    command: click.Command = lode
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        _, command, words = command.resolve_command(click.Context(command), words)  # type: ignore[assignment]
    command.make_parser(click.Context(command, **command.context_settings)).parse_args(list(words))
