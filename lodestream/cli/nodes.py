"""`lode nodes`: the node types, and what each can be told, from their declarations."""

from textwrap import indent
from typing import TYPE_CHECKING

import click

from lodestream.cli.commands import examples

if TYPE_CHECKING:
    from lodestream.palette import Entry, Setting

NONE = {"null": "none", "[]": "none", "{}": "none", '""': "none"}
"""Values that a person would call none."""


def complete_type(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of node types, for the shell."""
    from lodestream.registry import node_types

    return [name for name in node_types() if name.startswith(incomplete)]


@click.command(epilog=examples("lode nodes", "lode nodes fetch"))
@click.argument("node_type", metavar="[TYPE]", required=False, shell_complete=complete_type)
def nodes(node_type: str | None) -> None:
    """List the node types, or show one.

    One is shown with its settings, its ports and an example.
    """
    from lodestream.cli import output
    from lodestream.palette import palette

    entries = palette()
    if node_type is None:
        output.print_table(
            ["type", "takes", "gives", "does"],
            [[e.type, ", ".join(e.takes) or "what people publish", _ports(e), e.summary] for e in entries.values()],
            fold=True,
        )
        output.note("\nOne of them in full: lode nodes TYPE")
    elif node_type in entries:
        _show(entries[node_type])
    else:
        raise unknown_type(node_type, list(entries))


def unknown_type(name: str, known: list[str]) -> click.UsageError:
    """The refusal of a node type that there is not, with the nearest one."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return click.UsageError(f"no node type is called {name!r}; {hint}", click.get_current_context())


def _ports(entry: "Entry") -> str:
    return ", ".join(port for port in entry.gives if port != "rejected")


def _show(entry: "Entry") -> None:
    """One node type in full."""
    from lodestream.cli import output

    output.show(f"{entry.type}: {entry.summary}\n")
    output.show(f"takes   {', '.join(entry.takes) or 'what people publish, raw'}")
    output.show("gives")
    output.print_table(["", "", ""], [["    ", port, kind] for port, kind in entry.gives.items()])
    output.show("\nsettings")
    output.print_table(
        ["", "", ""], [["    ", _name(setting), _words(setting)] for setting in entry.settings], fold=True
    )
    output.show("\nA setting marked * changes the output: what was made under another value is made again.")
    output.show(f"\nexample\n{indent(entry.example, '    ')}")


def _name(setting: "Setting") -> str:
    return setting.name + (" *" if setting.recomputes else "")


def _words(setting: "Setting") -> str:
    """What it is for, and below that what it may be."""
    default = f"default {NONE.get(setting.default, setting.default)}" if setting.default else "must be given"
    return f"{setting.help}\n{setting.kind}; {default}"
