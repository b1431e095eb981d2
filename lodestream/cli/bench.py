"""`lode bench`: runs tests/bench, each file in a process of its own, and makes one table of what they measured."""

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lodestream.cli import output
from lodestream.errors import LodeError

RESULTS = "RESULTS.md"
_CALL = "import json, sys; from tests.bench.{0} import run; json.dump(run(), open(sys.argv[1], 'w'))"


class Figure(NamedTuple):
    """One measured ratio. It is good from its target on; a cost is good up to its target."""

    what: str
    ratio: float
    target: float
    cost: bool = False
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether the target is met."""
        return self.ratio <= self.target if self.cost else self.ratio >= self.target

    @property
    def wanted(self) -> str:
        """The target in words."""
        return f"at {'most' if self.cost else 'least'} {self.target:g}"


def run_all(folder: Path, names: Sequence[str], write: bool) -> int:
    """Run the benchmarks that `names` are part of (none: all); 1 where a target is missed or one failed."""
    there = sorted(folder.glob("bench_*.py"))
    if strange := [name for name in names if not any(name in file.stem for file in there)]:
        raise LodeError(f"no benchmark is called {strange[0]!r}; there are: {', '.join(map(_name, there))}")
    files = [file for file in there if not names or any(name in file.stem for name in names)]
    figures, failed = [], []
    for file in files:
        output.note(f"measuring {_name(file)} ...")
        try:
            figures += measure(file)
        except LodeError as error:
            output.fail(str(error))
            failed.append(file)
    if figures:
        output.print_table(["what", "ratio", "target", "", "measured"], [_row(figure) for figure in figures], fold=True)
    if write and not failed:
        page = folder / RESULTS
        page.write_text(document(figures, page.read_text() if names and page.exists() else ""))
        output.note(f"Kept in {folder / RESULTS}.")
    return 1 if failed or not all(figure.good for figure in figures) else 0


def _name(file: Path) -> str:
    return file.stem.removeprefix("bench_")


def measure(file: Path, python: str = sys.executable) -> list[Figure]:
    """What one benchmark's `run()` gives in the environment of this Python. Raises LodeError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "rows.json"
        call = [python, "-c", _CALL.format(file.stem), str(answer)]
        if subprocess.run(call, cwd=file.parents[2], stdout=sys.stderr, check=False).returncode:
            raise LodeError(f"{file.stem} failed, as said above")
        return [figure(row) for row in json.loads(answer.read_text())]


def figure(row: dict[str, Any]) -> Figure:
    """One row of a benchmark: {what, ratio, target, cost, detail}."""
    return Figure(row["what"], row["ratio"], row["target"], row.get("cost", False), row.get("detail", ""))


def _row(figure: Figure) -> list[output.Cell]:
    mark = output.Mark("ok", "good") if figure.good else output.Mark("missed", "bad")
    return [figure.what, round(figure.ratio, 3), figure.wanted, mark, figure.detail]


def document(figures: Sequence[Figure], before: str = "") -> str:
    """RESULTS.md: when, where and by which command, and the table; rows of `before` that were not measured stay."""
    rows = {line.split(" | ")[0].strip("| "): line for line in before.splitlines() if line.startswith("| ")}
    rows.pop("what", None)
    for f in figures:
        rows[f.what] = f"| {f.what} | {f.ratio:.3f} | {f.wanted} | {'yes' if f.good else 'no'} | {f.detail} |"
    return "\n".join(
        [
            "# What was measured",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {machine()}. Written by `./lode bench --write`.",
            "Each figure is a ratio of two things measured in turns in one run, so it holds on other machines.",
            "",
            "| what | ratio | target | met | measured |",
            "|---|---|---|---|---|",
            *rows.values(),
            "",
        ]
    )


def machine() -> str:
    """This machine in a few words."""
    import os

    cpus = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if line.startswith("model name")]
    chip = models[0] if models else platform.machine()
    return f"{os.cpu_count()} cores of {chip}, {platform.system()}, Python {platform.python_version()}"
