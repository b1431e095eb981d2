"""Benchmarks of this checkout and of another revision, in turns on this machine: what the changes since cost.

Both run in this environment, each with its own files of tests/bench. `python -m tests.bench.against REVISION NAME...`
"""

import argparse
import os
import statistics
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lodestream.cli import output
from lodestream.cli.bench import measure

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A worktree of it, removed afterwards. Raises CalledProcessError where there is no such revision."""
    with tempfile.TemporaryDirectory() as name:
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", name, revision], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run([*git, "remove", "--force", name], check=True)


def compare(then: Path, names: list[str], turns: int) -> list[list[output.Cell]]:
    """A row for each figure that both have: its median and range then, the same now, and the change in per cent."""
    seen: defaultdict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for turn in range(turns):
        for name in names:
            for side, root in enumerate((then, ROOT)):
                os.environ["PYTHONPATH"] = str(root)
                output.note(f"{name}, {'now' if side else 'then'}, {turn + 1} of {turns} ...")
                for figure in measure(root / "tests" / "bench" / f"bench_{name}.py"):
                    seen[figure.what][side].append(figure.ratio)
    return [[what, *map(words, sides), change(*sides)] for what, sides in seen.items() if all(sides)]


def words(ratios: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def change(then: list[float], now: list[float]) -> str:
    """Of the median, in per cent."""
    return f"{100 * (statistics.median(now) / statistics.median(then) - 1):+.1f} %"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision")
    parser.add_argument("names", nargs="+", metavar="name", help="as in: lode bench NAME")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    with checkout(given.revision) as then:
        rows = compare(then, given.names, given.turns)
    output.print_table(["what", f"at {given.revision}", "now", "change"], rows)


if __name__ == "__main__":
    main()
