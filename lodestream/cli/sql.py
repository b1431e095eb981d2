"""`lode sql`: ask the catalog."""

import sys
from typing import TYPE_CHECKING, Any

import click

from lodestream.cli.commands import asynchronous, examples

if TYPE_CHECKING:
    from lodestream.catalog import Answer

SHOWN = 500
"""Rows of a table on a terminal; a pipe, JSON and CSV get all."""
GREETING = "One SELECT at a time, ended by ; or an empty line. What there is: show tables; Leave with Ctrl-D."
LEAVE = ("exit", "quit", "\\q", ".quit", ".exit")


@click.command(
    epilog=examples(
        'lode sql "from progress"',
        'lode sql "select source, count(*) from media group by source" --csv',
        'lode sql "from frames limit 5" --json | jq .[0]',
        'echo "show tables" | lode sql',
        "lode sql        # a prompt",
    )
)
@click.argument("query", required=False, metavar="[SQL]")
@click.option("--json", "form", flag_value="json", help="One array of objects.")
@click.option("--csv", "form", flag_value="csv", help="CSV with a line of column names.")
def sql(query: str | None, form: str | None) -> None:
    """Ask the catalog.

    One SELECT in DuckDB's SQL. Reads standard input, or opens a prompt, where no query is given. Works also while
    nothing is up. The tables are seeds, candidates, records, media, shards, frames, rejects, dead; what was seen in
    frames is in kept, dropped, uniques, duplicates, boxes; the views progress, stages, prompts, sources, yields, saved,
    hourly, dry, origins.
    """
    from lodestream.cli import output

    if query is None and output.is_terminal(sys.stdin):
        _prompt(form)
    else:
        _answer(query if query is not None else sys.stdin.read(), form)


def _answer(query: str, form: str | None) -> None:
    """One query. Raises LodeError, in one line."""
    from lodestream.cli import output

    answer = _ask(query, SHOWN if form is None and output.is_terminal() else None)
    if form == "json":
        output.print_json(answer.objects())
    elif form == "csv":
        _print_csv(answer)
    else:
        _print_table(answer)


@asynchronous
async def _ask(query: str, most: int | None) -> "Answer":
    from lodestream.cli.instance import catalog

    async with catalog() as ask:
        return await ask(query, most)


def _print_csv(answer: "Answer") -> None:
    """Empty for null, JSON for lists and structs."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([_text(value) for value in row] for row in answer.rows)


def _print_table(answer: "Answer") -> None:
    """A table; a record a row where the terminal is too narrow for one."""
    from lodestream.cli import output

    rows = [[_text(value) for value in row] for row in answer.rows]
    right = {n for n, kind in enumerate(answer.types) if kind.endswith(("INT", "INTEGER", "DOUBLE", "FLOAT"))}
    if output.fits(answer.columns, rows):
        output.show(output.table(answer.columns, rows, fold=True, right=right))
    else:
        width = max(map(len, answer.columns))
        for row in rows:
            output.show(*(f"{name:>{width}}  {value}" for name, value in zip(answer.columns, row, strict=True)), "")
    if answer.truncated:
        output.note(f"The first {SHOWN} rows; all of them: --csv or --json.")
    elif not rows:
        output.note("No rows.")


def _text(value: Any) -> str:
    """A value of JSON's as a cell."""
    import msgspec

    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _prompt(form: str | None) -> None:
    """Ask until the person leaves; a mistake is told and forgotten."""
    import readline  # noqa: F401 (lets `input` edit and remember lines)

    from lodestream.cli import output
    from lodestream.errors import LodeError

    output.note(GREETING)
    lines: list[str] = []
    while True:
        try:
            line = input("  ... " if lines else "lode> ").strip()
        except KeyboardInterrupt:
            lines = []
            output.note("")
            continue
        except EOFError:
            output.note("")
            return
        if line.lower() in LEAVE:
            return
        lines.append(line)
        if line and not line.endswith(";"):
            continue
        query, lines = "\n".join(lines).strip(), []
        try:
            if query:
                _answer(query, form)
        except LodeError as error:
            output.fail(str(error))
