"""`lode fakes scan` and `cleanup`: fakes and duplicates among files on this machine."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lodestream.cli.commands import asynchronous, examples

if TYPE_CHECKING:
    from lodestream.fakes.cleanup import Deletion
    from lodestream.fakes.scan import Report
    from lodestream.fakes.walk import Found

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
SHOWN = 10
"""Fakes and groups that `scan` lists; `cleanup` and --json list all."""


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
        output.print_json(_as_json(report))
    else:
        _show_fakes(report, root)
        _show_groups(report, root)
        _show_summary(report, root)


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
        _show_plan(deletions, root)
        _show_summary(report, root)
    if yes and deletions:
        return _delete(deletions, root, as_json)
    if as_json:
        left = [_told(each) for each in deletions]
        output.print_json({"deleted": [], "not_deleted": [], "would_delete": left, "log": None})
    elif deletions:
        output.note(f"\nNothing was deleted. To do it: lode fakes cleanup {_quoted(path)} --yes")
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
    from lodestream.cli.fakes_shelf import library

    return await library()


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
        left = [{"path": _text(each.deletion.file.path), "why": each.failed} for each in failed]
        told = [_said(line) for line in gone]
        output.print_json({"deleted": told, "not_deleted": left, "would_delete": [], "log": _text(log.name)})
    else:
        for each in failed:
            output.fail(f"not deleted: {_text(each.deletion.file.path)}: {each.failed}")
        freed = size(sum(line["bytes"] for line in gone))
        output.show(f"deleted {plural(len(gone), 'file')}, {freed}; noted in {_text(log.name)}")
    return 1 if failed else 0


def _show_fakes(report: "Report", root: Path) -> None:
    from lodestream.cli import output
    from lodestream.cli.wording import plural, size

    if report.fakes:
        rows = [["  " + _below(f.file.path, root), size(f.file.size), f.why] for f in report.fakes[:SHOWN]]
        output.show(plural(len(report.fakes), "fake"), output.table(["", "", ""], rows, right=[1]))
        _show_rest(len(report.fakes))


def _show_groups(report: "Report", root: Path) -> None:
    """The groups that waste most; the first file of each is the one to keep."""
    from lodestream.cli import output
    from lodestream.cli.output import Mark
    from lodestream.cli.wording import plural, size

    if not report.groups:
        return
    rows: list[list[Any]] = []
    for group in report.groups[:SHOWN]:
        rows.append(["  " + _below(group.files[0].path, root), size(group.files[0].size), Mark("kept", "good")])
        copies = group.files[1 : SHOWN + 1]
        rows += [["  " + _below(file.path, root), "", "copy"] for file in copies]
        if rest := len(group.files) - 1 - len(copies):
            rows.append([f"  and {rest:,} more", "", ""])
        rows.append(["", "", ""])
    if report.fakes:
        output.show("")
    copies_of_all = sum(len(group.files) - 1 for group in report.groups)
    groups = plural(len(report.groups), "group")
    output.show(
        f"{plural(copies_of_all, 'duplicate')} in {groups}, {size(report.wasted)} to be saved",
        output.table(["", "", ""], rows[:-1], right=[1]),
    )
    _show_rest(len(report.groups))


def _show_rest(count: int) -> None:
    from lodestream.cli import output

    if count > SHOWN:
        output.show(f"  and {count - SHOWN:,} more: --json has all")


def _show_plan(deletions: "list[Deletion]", root: Path) -> None:
    """Every file that would go, and why."""
    from lodestream.cli import output
    from lodestream.cli.wording import plural, size

    if deletions:
        freed = size(sum(each.file.size for each in deletions))
        rows = [
            [
                "  " + _below(each.file.path, root),
                size(each.file.size),
                f"same as {_below(each.kept.path, root)}" if each.kept else each.why,
            ]
            for each in deletions
        ]
        output.show(f"{plural(len(deletions), 'file')} to delete, {freed}", output.table(["", "", ""], rows, right=[1]))


def _show_summary(report: "Report", root: Path) -> None:
    """What was looked at, and what was not."""
    from lodestream.cli import output
    from lodestream.cli.wording import plural, size

    found = report.found
    if report.fakes or report.groups:
        output.show("")
    looked = f"{plural(len(found.files), 'media file')}, {size(sum(file.size for file in found.files))}"
    nothing = "" if report.fakes or report.groups else ": no fakes, no duplicates"
    output.show(f"{looked}{nothing}{_left_alone(found)}")
    for folder in found.instances:
        output.note(f"not looked into: {_below(folder, root)}, the home of an instance")
    for path, why in found.unreadable[:SHOWN]:
        output.note(f"cannot be read: {_below(path, root)}: {why}")
    if len(found.unreadable) > SHOWN:
        output.note(f"cannot be read: {len(found.unreadable) - SHOWN:,} more: --json has all")


def _left_alone(found: "Found") -> str:
    from lodestream.cli.wording import plural

    counts = ((found.others, "other file"), (found.links, "link"), (found.hidden, "hidden name"))
    said = ", ".join(plural(count, what) for count, what in counts if count)
    return f"; left alone: {said}" if said else ""


def _as_json(report: "Report") -> dict[str, Any]:
    found = report.found
    fakes = [{"path": _text(f.file.path), "bytes": f.file.size, "sha256": f.sha256, "why": f.why} for f in report.fakes]
    groups = [
        {
            "sha256": group.sha256,
            "bytes": group.files[0].size,
            "keep": _text(group.files[0].path),
            "copies": [_text(file.path) for file in group.files[1:]],
        }
        for group in report.groups
    ]
    return {
        "files": len(found.files),
        "bytes": sum(file.size for file in found.files),
        "fakes": fakes,
        "duplicates": groups,
        "bytes_to_be_saved": report.wasted,
        "left_alone": {"others": found.others, "links": found.links, "hidden": found.hidden},
        "instances": [_text(folder) for folder in found.instances],
        "unreadable": [{"path": _text(path), "why": why} for path, why in found.unreadable],
    }


def _told(deletion: "Deletion") -> dict[str, Any]:
    file, kept = deletion.file, deletion.kept
    said = {"path": _text(file.path), "bytes": file.size, "sha256": deletion.sha256, "why": deletion.why}
    return said | ({"kept": _text(kept.path)} if kept else {})


def _said(line: dict[str, Any]) -> dict[str, Any]:
    return {name: _text(value) if isinstance(value, str) else value for name, value in line.items()}


def _below(path: str, root: Path) -> str:
    """A path as people read it below the folder that was named: on one line."""
    text = _text(path.removeprefix(f"{str(root).rstrip('/')}/"))
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _text(path: str) -> str:
    """A path as JSON can say it, also where it is no text."""
    return path.encode("utf-8", "backslashreplace").decode()


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(_text(str(path)))
