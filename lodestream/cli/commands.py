"""What every command has: examples under its help, and its place in the list that `lode --help` shows."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

SECTIONS = {
    "Run": ("demo", "up", "down", "status", "logs", "doctor", "env"),
    "Mine": ("seed", "wait", "sql", "show", "sheet", "tune", "export"),
    "Build": ("flow", "nodes", "models"),
    "Put right": ("dead", "forget", "fakes", "catalog"),
    "Develop": ("run", "replay", "test", "bench", "completion"),
}
START = """\b
First steps:
  lode demo                                     mine a small site of its own and see everything work
  lode up -d                                    start an instance in the background
  lode flow new cats --query "cat jumps"        write a flow file to start from
  lode flow deploy cats.yaml                    put it to work
  lode seed cats "https://example.org/a.mp4"    say where else to look
  lode status --watch                           see it work; lode wait cats returns when it is done
  lode sql "from frames limit 5"                ask what it found"""
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def examples(*lines: str) -> str:
    """An epilog that shows these command lines as they are typed."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class Sections(click.Group):
    """The top group: its commands listed by what a person wants to do."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections; a command in none of them would not be seen, so a test looks for that."""
        width = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", self.commands[name].get_short_help_str()) for name in names])


def asynchronous(work: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command be a coroutine function."""

    @wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        import asyncio

        return asyncio.run(work(*args, **kwargs))

    return run


def confirm(question: str) -> None:
    """Ask on a terminal whether to go on; a script is not asked. Raises LodeError where the answer is no."""
    from lodestream.cli.output import is_terminal
    from lodestream.errors import LodeError

    if is_terminal() and not click.confirm(question, err=True):
        raise LodeError("nothing was done")


def complete_flow(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of deployed flows, for the shell; none where no instance answers at once."""
    import asyncio

    from lodestream.cli.instance import operator
    from lodestream.errors import LodeError
    from lodestream.flows import deployed_flows

    async def names() -> list[str]:
        async with operator() as bus:
            return [name for name in await deployed_flows(bus) if name.startswith(incomplete)]

    try:
        return asyncio.run(names())
    except (LodeError, TimeoutError):
        return []
