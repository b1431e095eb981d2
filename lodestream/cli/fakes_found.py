"""What `lode fakes scan` and `cleanup` show of what they found."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lodestream.cli.output import Cell
    from lodestream.fakes.cleanup import Deletion
    from lodestream.fakes.scan import Report
    from lodestream.fakes.walk import File, Found

SHOWN = 10
"""Fakes, groups and copies that `scan` lists; `cleanup` and --json list all."""


def show_fakes(report: "Report", root: Path) -> None:
    """Files that are no video or picture."""
    from lodestream.cli import output
    from lodestream.cli.wording import plural

    if report.fakes:
        output.show(plural(len(report.fakes), "fake"))
        _show_files([(fake.file, fake.why) for fake in report.fakes[:SHOWN]], root)
        _show_rest(len(report.fakes))


def show_groups(report: "Report", root: Path) -> None:
    """The groups that waste most; the first file of each is the one to keep."""
    from lodestream.cli import output
    from lodestream.cli.wording import plural, size

    if report.groups:
        copies = sum(len(group.files) - 1 for group in report.groups)
        groups = plural(len(report.groups), "group")
        heading = f"{plural(copies, 'duplicate')} in {groups}, {size(report.wasted)} to be saved"
        output.show(*([""] if report.fakes else []), heading)
        for number, group in enumerate(report.groups[:SHOWN]):
            output.show(*([""] if number else []))
            _show_files([(group.files[0], "keep"), *((file, "copy") for file in group.files[1 : SHOWN + 1])], root)
            if len(group.files) > SHOWN + 1:
                output.show(f"  and {plural(len(group.files) - 1 - SHOWN, 'more copy', 'more copies')}")
        _show_rest(len(report.groups))


def _show_files(files: "list[tuple[File, str]]", root: Path) -> None:
    """A line for each: size, what of it, path, which may need more lines."""
    from lodestream.cli import output
    from lodestream.cli.output import Mark
    from lodestream.cli.wording import size

    rows: list[list[Cell]] = [
        ["", size(file.size), Mark(what, "good" if what == "keep" else ""), _below(file.path, root)]
        for file, what in files
    ]
    output.show(output.table(["", "", "", ""], rows, fold=True, right=[1]))


def _show_rest(count: int) -> None:
    from lodestream.cli import output

    if count > SHOWN:
        output.show(f"  and {count - SHOWN:,} more: --json has all")


def show_plan(deletions: "list[Deletion]", root: Path) -> None:
    """Every file that would go, and why; before copies, the file that stays."""
    from lodestream.cli import output
    from lodestream.cli.wording import plural, size

    if deletions:
        freed = size(sum(each.file.size for each in deletions))
        output.show(f"{plural(len(deletions), 'file')} to delete, {freed}")
        lines: list[tuple[File, str]] = []
        kept = None
        for each in deletions:
            if each.kept and each.kept != kept:
                lines.append((each.kept, "keep"))
            lines.append((each.file, f"delete: {'copy' if each.kept else each.why}"))
            kept = each.kept
        _show_files(lines, root)


def show_summary(report: "Report", root: Path) -> None:
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


def as_json(report: "Report") -> dict[str, Any]:
    """Everything that a scan found, for programs."""
    found = report.found
    fakes = [{"path": text(f.file.path), "bytes": f.file.size, "sha256": f.sha256, "why": f.why} for f in report.fakes]
    groups = [
        {
            "sha256": group.sha256,
            "bytes": group.files[0].size,
            "keep": text(group.files[0].path),
            "copies": [text(file.path) for file in group.files[1:]],
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
        "instances": [text(folder) for folder in found.instances],
        "unreadable": [{"path": text(path), "why": why} for path, why in found.unreadable],
    }


def told(deletion: "Deletion") -> dict[str, Any]:
    """What would be deleted, for programs."""
    file, kept = deletion.file, deletion.kept
    said = {"path": text(file.path), "bytes": file.size, "sha256": deletion.sha256, "why": deletion.why}
    return said | ({"kept": text(kept.path)} if kept else {})


def said(line: dict[str, Any]) -> dict[str, Any]:
    """What a line of a log says, for programs."""
    return {name: text(value) if isinstance(value, str) else value for name, value in line.items()}


def _below(path: str, root: Path) -> str:
    """A path as people read it below the folder that was named: on one line."""
    below = text(path.removeprefix(f"{str(root).rstrip('/')}/"))
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in below)


def text(path: str) -> str:
    """A path as JSON can say it, also where it is no text."""
    return path.encode("utf-8", "backslashreplace").decode()


def quoted(path: Path) -> str:
    """A path as it is typed in a shell."""
    import shlex

    return shlex.quote(text(str(path)))
