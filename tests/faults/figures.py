"""What a fault test has seen, printed as JSON and, with `--write`, kept as a row of RESULTS.md."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = "# Fault tests: what was seen\n\nEach row is one run of its command with `--write`, on a machine of 2 cores.\n"
COMMAND = "command"

Tables = dict[str, list[dict[str, str]]]
"""By test, its rows: column and cell."""


def arguments(about: str) -> argparse.Namespace:
    """What a fault test is told on its command line: `seed`, `short`, `write`."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seed", type=int, default=1, help="the same seed does the same things")
    parser.add_argument("--short", action="store_true", help="the form that is part of the tests")
    parser.add_argument("--write", action="store_true", help="keep the figures in RESULTS.md")
    return parser.parse_args()


def keep(test: str, seed: int, figures: dict[str, Any]) -> None:
    """Print the figures of one run of `python -m tests.faults.<test>`; keep them where the command says `--write`."""
    print(json.dumps({"test": test, "seed": seed, **figures}), flush=True)
    if "--write" in sys.argv:
        record(test, seed, figures, short="--short" in sys.argv)


def record(test: str, seed: int, figures: dict[str, Any], *, short: bool = False, path: Path = RESULTS) -> None:
    """Put a row into the table of its test, in place of the one that the same command gave before."""
    command = f"`python -m tests.faults.{test} --seed {seed}{' --short' if short else ''}`"
    tables = _read(path.read_text()) if path.exists() else {}
    row = {"seed": str(seed), **{name: _cell(value) for name, value in figures.items()}, COMMAND: command}
    rows = [old for old in tables.get(test, []) if old.get(COMMAND) != command]
    tables[test] = sorted([*rows, row], key=lambda row: (len(row[COMMAND]), row[COMMAND]))
    path.write_text(HEAD + "".join(_table(name, tables[name]) for name in sorted(tables)))


def _cell(value: Any) -> str:
    said = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    return said.replace("|", "/").replace("\n", " ")


def _table(test: str, rows: list[dict[str, str]]) -> str:
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != COMMAND] + [COMMAND]
    lines = [names, ["---"] * len(names), *([row.get(name, "") for name in names] for row in rows)]
    return f"\n## {test}\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _read(text: str) -> Tables:
    tables: Tables = {}
    for section in text.split("\n## ")[1:]:
        test, *lines = section.splitlines()
        cells = [[cell.strip() for cell in line[1:].rsplit("|", 1)[0].split("|")] for line in lines if line[:1] == "|"]
        names, _, *rows = cells
        tables[test] = [dict(zip(names, row, strict=True)) for row in rows]
    return tables
