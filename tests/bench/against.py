"""Benchmarks of this checkout and of another revision, in turns on this machine: what the changes since cost.

Both have the libraries of this environment, and each its own files of tests/bench.
`python -m tests.bench.against REVISION NAME...`
"""

import argparse
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lodestream.cli import output
from lodestream.cli.bench import measure

ROOT = Path(__file__).resolve().parents[2]


def environment(folder: Path) -> str:
    """A Python with our libraries and without our own packages, which this environment has as a library."""
    venv.create(folder, symlinks=True)
    inside = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(inside, "libraries.pth").write_text(sysconfig.get_path("purelib"))
    for program in Path(sys.executable).parent.iterdir():
        if not (mine := folder / "bin" / program.name).exists():
            mine.symlink_to(program)
    return str(folder / "bin" / "python")


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


def compare(then: Path, names: list[str], turns: int, python: str) -> list[list[output.Cell]]:
    """A row for each figure that both have: its median and range then, the same now, and the change in per cent."""
    seen: defaultdict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for turn in range(turns):
        for name in names:
            for side, root in enumerate((then, ROOT)):
                os.environ["PYTHONPATH"] = str(root)
                output.note(f"{name}, {'now' if side else 'then'}, {turn + 1} of {turns} ...")
                for figure in measure(root / "tests" / "bench" / f"bench_{name}.py", python):
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
    with checkout(given.revision) as then, tempfile.TemporaryDirectory() as folder:
        rows = compare(then, given.names, given.turns, environment(Path(folder)))
    output.print_table(["what", f"at {given.revision}", "now", "change"], rows)


if __name__ == "__main__":
    main()
