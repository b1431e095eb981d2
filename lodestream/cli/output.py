"""What commands print: tables, JSON, notes. Colour only on a terminal; never a control code from a title."""

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, JustifyMethod, OverflowMethod, RenderableType
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNLIMITED = 100_000
"""Columns of a pipe: nothing is cut or folded in plain text."""
LONGEST = 800
"""Letters of an error, which may quote what it was given."""
LEGIBLE, LEAST = 32, 6
"""Letters of a cell that can be read when more of it is folded, and that are shown when more of it is cut."""


class Mark(NamedTuple):
    """A cell with a style: `good`, `bad`, `dim`, `bold` ..."""

    text: str
    style: str


Cell = str | int | float | Mark | None


def is_terminal(file: TextIO | None = None) -> bool:
    """Whether a person reads `file` (stdout by default) on a screen that can be redrawn."""
    return (file or sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def clean(text: str) -> str:
    """`text` without control characters: what the web calls itself must not drive the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def console(file: TextIO | None = None) -> "Console":
    """A console on `file` (stdout by default); plain and unlimited in width where that is no terminal."""
    from rich.console import Console
    from rich.theme import Theme

    theme = Theme({"good": "green", "bad": "red", "warn": "yellow", "table.header": "bold"})
    shown = is_terminal(file)
    return Console(file=file, theme=theme, highlight=False, markup=False, emoji=False,
                   force_terminal=shown, width=None if shown else _UNLIMITED)  # fmt: skip


def cell_text(cell: Cell) -> "Text":
    """One cell as it is shown: nothing for None, thousands apart in whole numbers."""
    from rich.text import Text

    if isinstance(cell, Mark):
        return Text(clean(cell.text), cell.style)
    if isinstance(cell, bool) or cell is None:
        return Text("" if cell is None else str(cell).lower())
    if isinstance(cell, int):
        return Text(f"{cell:,}", "dim" if cell == 0 else "")
    return Text(f"{cell:.4g}" if isinstance(cell, float) else clean(cell))


class Sheet:
    """A table without lines, as wide as where it is printed.

    What is too wide of its last column is cut, or long cells are folded with `fold`. The columns of index `right`,
    else those of numbers, stand to the right. Heads that are all empty take no line.
    """

    def __init__(self, heads: Sequence[str], rows: Iterable[Sequence[Cell]], fold: bool, right: Collection[int] | None):
        self._heads, self._rows, self._fold = heads, [list(row) for row in rows], fold
        numbers = {i for i in range(len(heads)) for row in self._rows if isinstance(row[i], int | float)}
        self._right = numbers if right is None else right

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Table]":
        """For rich: the table, fitted."""
        from rich.cells import cell_len
        from rich.table import Table

        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(self._heads))
        texts = [[cell_text(cell) for cell in row] for row in self._rows]
        room = options.max_width
        for index, head in enumerate(self._heads):
            justify: JustifyMethod = "right" if index in self._right else "left"
            overflow: OverflowMethod = "fold" if self._fold else "ellipsis"
            most = max(room, LEAST) if index == len(self._heads) - 1 else None
            made.add_column(head, justify=justify, overflow=overflow, no_wrap=not self._fold, max_width=most)
            room -= 2 + max([cell_len(head), *(row[index].cell_len for row in texts)])
        for row in texts:
            made.add_row(*row)
        yield made


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, fold: bool = False, right: Collection[int] | None = None
) -> Sheet:
    """A table to be shown; see `Sheet`."""
    return Sheet(heads, rows, fold, right)


def fits(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> bool:
    """Whether a table of texts can be read on this terminal, long cells folded; always in a pipe."""
    widths = [len(head) for head in heads]
    for row in rows:
        widths = [max(width, min(len(cell), LEGIBLE)) for width, cell in zip(widths, row, strict=True)]
    return not is_terminal() or sum(widths) + 2 * len(widths) <= console().width


def show(*parts: "RenderableType", file: TextIO | None = None) -> None:
    """Print tables and texts; strings are cleaned, and no line ends in spaces."""
    target = file or sys.stdout
    screen = console(target)
    with screen.capture() as captured:
        for part in parts:
            screen.print(clean(part) if isinstance(part, str) else part, soft_wrap=isinstance(part, str))
    target.write("".join(f"{line.rstrip(' ')}\n" for line in captured.get().split("\n")[:-1]))
    target.flush()


def print_table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, fold: bool = False) -> None:
    """Print one table."""
    show(table(heads, rows, fold=fold))


def print_json(value: Any) -> None:
    """Print `value` as JSON, for programs."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def note(text: str) -> None:
    """Say something beside the result: stderr, so that pipes stay clean."""
    show(text, file=sys.stderr)


def fail(text: str) -> None:
    """Say on one line of stderr what went wrong."""
    line = clean(" ".join(text.split()))
    line = line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
    red = is_terminal(sys.stderr) and not os.environ.get("NO_COLOR")
    sys.stderr.write(f"\x1b[31mlode:\x1b[0m {line}\n" if red else f"lode: {line}\n")


class Redrawn:
    """A part of the screen that is drawn over and over; in a pipe, one text after the other.

    It vanishes when all went well; what a failure or Ctrl-C ended stays to be read.
    """

    def __init__(self, file: TextIO | None = None):
        """`file` is stdout by default."""
        self._file = file or sys.stdout
        self._live: Live | None = None

    def __enter__(self) -> "Redrawn":
        if is_terminal(self._file):
            from rich.live import Live

            self._live = Live(console=console(self._file), auto_refresh=False, vertical_overflow="ellipsis")
            self._live.start()
        return self

    def show(self, *parts: "RenderableType") -> None:
        """Draw this in place of what was shown before."""
        if self._live is None:
            show(*parts, "", file=self._file)
            return
        from rich.console import Group

        self._live.update(Group(*(clean(part) if isinstance(part, str) else part for part in parts)), refresh=True)

    def __exit__(self, *failure: object) -> None:
        if self._live:
            self._live.transient = failure[0] is None
            self._live.stop()
