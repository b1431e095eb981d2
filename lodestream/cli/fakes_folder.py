"""`lode fakes scan` and `cleanup`: fakes and duplicates among files on this machine."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lodestream.cli import fakes_found
from lodestream.cli.commands import asynchronous, examples

if TYPE_CHECKING:
    from lodestream.fakes.cleanup import Deletion
    from lodestream.fakes.scan import Report

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(epilog=examples("lode fakes scan ~/videos", "lode fakes scan . --json | jq .duplicates"))
@click.argument("path", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="One object with every file, for programs.")
def scan(path: Path, as_json: bool) -> None:
    """Find fakes and duplicates in a folder.

    Looks at files that are videos, pictures or sound by their name or their first bytes, in the folder and below.
    Deletes nothing, follows no links, needs no instance.
    """
    from lodestream.cli import output

    root = path.resolve()
    report = _scanned(root)
    if as_json:
        output.print_json(fakes_found.as_json(report))
    else:
        fakes_found.show_fakes(report, root)
        fakes_found.show_groups(report, root)
        fakes_found.show_summary(report, root)


@click.command(epilog=examples("lode fakes cleanup ~/videos", "lode fakes cleanup ~/videos --yes"))
@click.argument("path", type=FOLDER)
@click.option("--yes", is_flag=True, help="Delete; without it, nothing is.")
@click.option("--json", "as_json", is_flag=True, help="One object, for programs.")
def cleanup(path: Path, yes: bool, as_json: bool) -> int:
    """Delete the fakes and duplicates of a folder.

    Shows what it would do, and does it with --yes. Of files with the same bytes it keeps the one with further names
    (hard links), else the oldest, else the one with the shortest path. Each file is read once more before it goes, and
    its deletion noted in a log beside the folder: JSONL, with its hash and the file that was kept.
    """
    from lodestream.cli import output
    from lodestream.errors import LodeError
    from lodestream.fakes.cleanup import plan
    from lodestream.fakes.walk import instance_above

    root = path.resolve()
    if home := instance_above(root):
        raise LodeError(f"{path} belongs to the instance in {home}, which knows its files by name")
    report = _scanned(root)
    deletions = plan(report)
    if not as_json:
        fakes_found.show_plan(deletions, root)
        fakes_found.show_summary(report, root)
    if yes and deletions:
        return _delete(deletions, root, as_json)
    if as_json:
        left = [fakes_found.told(each) for each in deletions]
        output.print_json({"deleted": [], "not_deleted": [], "would_delete": left, "log": None})
    elif deletions:
        output.note(f"\nNothing was deleted. To do it: lode fakes cleanup {fakes_found.quoted(path)} --yes")
    return 0


def _scanned(path: Path) -> "Report":
    """What a scan finds; on a terminal it says how far it is."""
    from lodestream.cli import output
    from lodestream.cli.wording import size
    from lodestream.fakes.scan import Scanner

    library = _library()
    if not output.is_terminal(sys.stderr):
        return Scanner(library).scan(path)
    with output.Redrawn(sys.stderr) as redrawn:
        redrawn.show("looking ...")
        meter = _Meter(lambda done, total: redrawn.show(f"reading {size(done)} of {size(total)} ..."))
        return Scanner(library, meter).scan(path)


class _Meter:
    """Passes on ten figures a second at most."""

    def __init__(self, show: Any):
        self._show, self._next = show, 0.0

    def __call__(self, done: int, total: int) -> None:
        import time

        if (now := time.monotonic()) >= self._next:
            self._next = now + 0.1
            self._show(done, total)


@asynchronous
async def _library() -> Any:
    """All that is known; what is built in where the instance's own cannot be read."""
    from lodestream.cli import output
    from lodestream.cli.fakes_shelf import library
    from lodestream.errors import LodeError
    from lodestream.fakes import Library

    try:
        return await library()
    except LodeError as error:
        output.note(f"only what is built in is known: {error}")
        return Library()


def _delete(deletions: "list[Deletion]", root: Path, as_json: bool) -> int:
    """Delete, and say from the log what is gone."""
    from lodestream.cli import output
    from lodestream.cli.wording import plural, size
    from lodestream.fakes.cleanup import execute, open_log, read_log
    from lodestream.local.home import logs_folder

    with open_log(root, logs_folder()) as log:
        done = list(execute(deletions, log))
    gone, failed = read_log(Path(log.name)), [each for each in done if each.failed]
    if as_json:
        left = [{"path": fakes_found.text(each.deletion.file.path), "why": each.failed} for each in failed]
        told = [fakes_found.said(line) for line in gone]
        output.print_json({"deleted": told, "not_deleted": left, "would_delete": [], "log": fakes_found.text(log.name)})
    else:
        for each in failed:
            output.fail(f"not deleted: {fakes_found.text(each.deletion.file.path)}: {each.failed}")
        freed = size(sum(line["bytes"] for line in gone))
        output.show(f"deleted {plural(len(gone), 'file')}, {freed}; noted in {fakes_found.text(log.name)}")
    return 1 if failed else 0
