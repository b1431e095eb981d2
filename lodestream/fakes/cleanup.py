"""Deleting what a scan found: fakes, and of files with the same bytes all but one. Every deletion is logged first."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from lodestream.errors import LodeError
from lodestream.fakes.scan import Report, digest
from lodestream.fakes.walk import File


class Deletion(NamedTuple):
    """One file to go."""

    file: File
    sha256: str
    why: str
    kept: File | None
    """The file with the same bytes that stays."""


class Done(NamedTuple):
    """What became of a deletion; `failed` says why the file is still there."""

    deletion: Deletion
    failed: str = ""


def plan(report: Report) -> list[Deletion]:
    """Everything that would be deleted."""
    copies = [Deletion(f, g.sha256, "duplicate", g.files[0]) for g in report.groups for f in g.files[1:]]
    return [*(Deletion(fake.file, fake.sha256, fake.why, None) for fake in report.fakes), *copies]


def execute(deletions: list[Deletion], log: TextIO) -> Iterator[Done]:
    """Delete one after the other; only what has the very bytes that were seen, and whose twin still has them, too.

    A line of the log is on disk before its file is gone; another follows where it could not be deleted.
    """
    twins: dict[File, str] = {}
    for deletion in deletions:
        if (kept := deletion.kept) and kept not in twins:
            twins[kept] = _changed(kept, deletion.sha256)
        failed = (twins[kept] and f"the one to keep: {twins[kept]}") if kept else ""
        failed = failed or _changed(deletion.file, deletion.sha256)
        if not failed:
            _write(log, _line(deletion))
            try:
                Path(deletion.file.path).unlink()
            except OSError as error:
                failed = error.strerror or str(error)
                _write(log, {"not_deleted": deletion.file.path, "why": failed})
        yield Done(deletion, failed)


def open_log(root: Path, fallback: Path) -> TextIO:
    """A new log beside the folder `root`, or in the folder `fallback` where that cannot be. Raises LodeError."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    name, why = f"{root.name or 'root'}.deleted-{stamp}-{os.getpid()}.jsonl", ""
    for folder in (root.parent, fallback):
        try:
            if folder == fallback:
                folder.mkdir(parents=True, exist_ok=True)
            return (folder / name).open("x", encoding="ascii")
        except OSError as error:
            why = why or f"{folder}: {error.strerror}"
    raise LodeError(f"no place for the log of what is deleted ({why}); nothing was deleted")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The files that a log says were deleted, as it has them. Raises LodeError, naming a line that is none."""
    gone: dict[str, dict[str, Any]] = {}
    with path.open(encoding="ascii", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                said = json.loads(line)
                if "not_deleted" in said:
                    gone.pop(said["not_deleted"])
                else:
                    gone[said["deleted"]] = said
            except (ValueError, KeyError, TypeError):
                raise LodeError(f"{path}:{number}: no line of such a log") from None
    return list(gone.values())


def _changed(file: File, sha256: str) -> str:
    """How a file is no longer what it was; empty where it is."""
    try:
        return "" if digest(file) == sha256 else "its bytes changed meanwhile"
    except OSError as error:
        return error.strerror or str(error)


def _line(deletion: Deletion) -> dict[str, Any]:
    file, kept = deletion.file, deletion.kept
    said = {"deleted": file.path, "bytes": file.size, "sha256": deletion.sha256, "why": deletion.why}
    if kept:
        said["kept"] = kept.path
    return said | {"at": datetime.now(UTC).isoformat(timespec="milliseconds")}


def _write(log: TextIO, said: dict[str, Any]) -> None:
    """`json`, not msgspec: it can say a name that is no text, and gives it back as it was."""
    log.write(json.dumps(said) + "\n")
    log.flush()
    os.fsync(log.fileno())
