"""`lode flow new` and `lint`: flow files, without a server."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import examples
from lodestream.errors import LodeError

if TYPE_CHECKING:
    from lodestream.flow.model import Flow

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    epilog=examples(
        'lode flow new cats --query "cat jumps" --every 1s', "lode flow new cats --query a --query b --every 500ms"
    )
)
@click.argument("name", metavar="NAME")
@click.option("--query", "queries", multiple=True, help="A search or URL to begin with. May be given more than once.")
@click.option("--every", default="1s", show_default=True, help="Time between frames.")
def new(name: str, queries: tuple[str, ...], every: str) -> None:
    """Write a flow file to start from.

    NAME.yaml, here: the whole way from a seed to frames, with comments.
    """
    from lodestream.cli import output
    from lodestream.flow.lint import lint
    from lodestream.flow.new import new as write

    text = write(name, queries, every)
    if problems := lint(text)[1]:
        raise LodeError(problems[0].message)
    file = Path(f"{name}.yaml")
    try:
        with file.open("x") as made:
            made.write(text)
    except FileExistsError:
        raise LodeError(f"{file} is there already; remove it, or choose another name") from None
    except OSError as error:
        raise LodeError(f"cannot write {file}: {error.strerror}") from None
    output.show(f"{file} written. Next:", f"  lode flow deploy {file}")
    output.show(*(f"  lode seed {name} {shlex.quote(query)}" for query in queries or ["words to search for"]))


@click.command(epilog=examples("lode flow lint cats.yaml", "lode flow lint flows/*.yaml"))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
def lint(files: tuple[Path, ...]) -> None:
    """Check flow files.

    Types of wires, unknown fields, cycles and so on, each mistake with its line and column. Needs no server.
    """
    from lodestream.cli import output
    from lodestream.cli.wording import plural

    mistakes = 0
    for file in files:
        flow, found = _lint(file)
        mistakes += found
        if flow:
            output.show(f"{file}: good; flow {flow.name}, {plural(len(flow.nodes), 'node')}")
    if mistakes:
        raise LodeError(plural(mistakes, "mistake"))


def checked(file: Path) -> "Flow":
    """The flow in a file. Raises LodeError where it is unreadable, or has mistakes, which are printed."""
    from lodestream.cli.wording import plural

    flow, mistakes = _lint(file)
    if flow is None:
        raise LodeError(f"{plural(mistakes, 'mistake')} in {file}: nothing was done")
    return flow


def _lint(file: Path) -> "tuple[Flow | None, int]":
    """The flow in a file, or the number of its mistakes, which are printed. Raises LodeError where it is unreadable."""
    from lodestream.cli import output
    from lodestream.flow.lint import lint
    from lodestream.flow.load import read

    text = read(file)
    flow, problems = lint(text)
    lines = text.splitlines()
    for problem in problems:
        output.show(problem.show(str(file)))
        if output.is_terminal() and problem.line <= len(lines):
            output.show(_marked(lines[problem.line - 1], problem.column))
    return flow, len(problems)


def _marked(line: str, column: int) -> str:
    """The line, and under it a mark at the column, from 1."""
    indent = "".join(" " if letter != "\t" else "\t" for letter in line[: column - 1])
    return f"    {line}\n    {indent}^"
