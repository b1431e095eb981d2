"""`lode doctor --check-objects` and `--repair`: what is said of objects against what there is of them."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lodestream.cli.checks import Finding

if TYPE_CHECKING:
    from lodestream.audit import Found
    from lodestream.bus import Bus
    from lodestream.local import Home
    from lodestream.repair import Done
    from lodestream.stack import Stack

SHOWN = 25
"""Objects that are named of each kind."""
BAD = ("missing", "wrong", "unreadable", "ledger")
WORDS = {
    "missing": "is missing",
    "wrong": "is not what was stored",
    "unreadable": "cannot be read",
    "ledger": "cannot be read, what dedup has said and kept",
    "stray": "is spoken of by no message and no manifest",
    "touched": "was written to, with the same bytes",
}


async def compare(stack: "Stack", *, deep: bool, repair: bool) -> list[Finding]:
    """The findings; what is wrong is put right where `repair` says so."""
    from lodestream.cli.instance import operator
    from lodestream.errors import LodeError, Outage
    from lodestream.stack import LocalStack

    try:
        async with operator() as bus:
            swept = _temporary(stack.home, repair) if isinstance(stack, LocalStack) else []
            return [*swept, *await _compare(bus, deep, repair)]
    except (LodeError, Outage) as error:
        return [Finding("all objects", "bad", f"could not be compared: {error}", "try again when that is over")]


def _temporary(home: "Home", repair: bool) -> list[Finding]:
    from lodestream.objects.directory import Directory

    directory = Directory(home.objects)
    count = directory.sweep() if repair else len(directory.unfinished())
    if not count:
        return []
    said = f"{count:,} left by writers that were killed over an hour ago"
    return [Finding("temporary files", "ok" if repair else "note", said + (": removed" if repair else ""))]


async def _compare(bus: "Bus", deep: bool, repair: bool) -> list[Finding]:
    from lodestream.audit import Audit
    from lodestream.cli import instance, output
    from lodestream.repair import Done, Repair

    objects = instance.objects()
    with tempfile.TemporaryDirectory() as folder:
        audit = Audit(bus, objects, Path(folder), deep=deep)
        try:
            await audit.gather()
            output.note(f"comparing {audit.objects:,} objects ...")
            work = Repair(bus, objects, audit)
            done: list[Done] = []
            async for found in audit.findings():
                if repair and (result := await work.put_right(found)):
                    done.append(result)
                elif not repair:
                    done.append(Done(found, False, "lode doctor --repair"))
            done += await work.wait(output.note) if repair else []
        finally:
            audit.close()
    counted = f"{audit.objects:,} objects, {audit.messages:,} messages, {audit.records:,} manifests and indexes"
    return _findings(done, counted)


def _findings(done: "list[Done]", counted: str) -> list[Finding]:
    """A line for each object, for the first of each kind, and one for all."""
    found, seen = [], Counter[tuple[str, bool]]()
    for each in done:
        seen[each.found.kind, each.healed] += 1
        if seen[each.found.kind, each.healed] <= SHOWN:
            found.append(Finding(f"{each.found.kind} object", _verdict(each), _words(each.found), each.said))
    found += [
        Finding(f"{kind} objects", "note", f"and {count - SHOWN:,} more that {WORDS[kind].replace('is ', 'are ', 1)}")
        for (kind, _), count in seen.items()
        if count > SHOWN
    ]
    bad = sum(count for (kind, healed), count in seen.items() if kind in BAD and not healed)
    healed = sum(count for (kind, good), count in seen.items() if kind in BAD and good)
    said = f"{counted}: {bad:,} not as they should be" + (f", {healed:,} put right" if healed else "")
    return [*found, Finding("all objects", "bad" if bad else "ok", said)]


def _verdict(done: "Done") -> Literal["ok", "note", "bad"]:
    if done.found.kind not in BAD:
        return "note"
    return "ok" if done.healed else "bad"


def _words(found: "Found") -> str:
    spoken = f" (said by {found.subject})" if found.subject else ""
    return f"{found.key} {WORDS[found.kind]}{spoken}"
