"""`lode fakes`: the library of known fakes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from lodestream.cli.commands import asynchronous, examples
from lodestream.cli.fakes_folder import cleanup, scan

if TYPE_CHECKING:
    from lodestream.cli.output import Cell
    from lodestream.fakes import Entry
    from lodestream.fakes.shelf import Suspect

SHOWN = 20
"""Suspects, and reasons, that are listed."""
LETTERS = 16
"""Of a hash, where it is listed: enough to name it by."""
HEARD = "Fetch workers know it within seconds."
WHAT = "WHAT is a SHA-256 (or its first letters, as stats shows them), a file, bytes in digits, or a pattern of URLs."


@click.group(
    epilog=examples(
        "lode fakes stats",
        "lode fakes scan ~/videos",
        "lode fakes cleanup ~/videos",
        "lode fakes add 3fa9c2d17be0a1f4 sorry.mp4 placehold.co",
        "lode fakes export > fakes.jsonl",
    )
)
def fakes() -> None:
    """Know placeholders, and find them.

    A fake is what a site sends in place of a video: known by its bytes, its size or its URL. The library holds what
    everybody knows and what is added; fetch refuses what fits, before the download where the URL says it already.
    """


@fakes.command(epilog=examples("lode fakes stats", "lode fakes stats --json"))
@click.option("--json", "as_json", is_flag=True, help="One object, for programs.")
@asynchronous
async def stats(as_json: bool) -> None:
    """Show what is known, refused, suspected.

    Suspected is a file that came from more than three unrelated URLs: other sites, or other pages of one.
    """
    from lodestream.cli import output
    from lodestream.cli.fakes_shelf import open_shelf, refusals, suspects
    from lodestream.fakes import Library

    async with open_shelf() as shelf:
        library = Library(await shelf.entries())
        suspected = await suspects(shelf, library)
    refused = await refusals()
    if as_json:
        known = [{"kind": e.kind, "what": e.what, "built_in": not e.at, "fine": e.fine} for e in library.entries]
        output.print_json({"known": known, "refused": refused, "suspected": suspected})
    else:
        _show_known(library.entries)
        _show_refused(refused)
        _show_suspects(suspected)


def _show_known(entries: "list[Entry]") -> None:
    from lodestream.cli import output
    from lodestream.cli.wording import plural
    from lodestream.fakes import Library

    built_in = {(entry.kind, entry.what) for entry in Library().entries}
    names = {"sha256": ("hash", "hashes"), "size": ("size", "sizes"), "url": ("URL pattern", "URL patterns")}
    rows: list[list[Cell]] = []
    for title, some in (
        ("built in", [e for e in entries if not e.fine and (e.kind, e.what) in built_in]),
        ("added", [e for e in entries if not e.fine and (e.kind, e.what) not in built_in]),
        ("exceptions", [e for e in entries if e.fine]),
    ):
        counts = {kind: sum(entry.kind == kind for entry in some) for kind in names}
        said = ", ".join(plural(count, *names[kind]) for kind, count in counts.items() if count)
        rows.append(["  " + title, said or "none"])
    output.show("Known", output.table(["", ""], rows))


def _show_refused(refused: list[dict[str, Any]]) -> None:
    from lodestream.cli import output
    from lodestream.cli.wording import ago

    if refused:
        rows = [[r["videos"], ago(r["last"]), r["why"]] for r in refused[:SHOWN]]
        output.show("", "Refused as fake", output.table(["  videos", "last", "why"], rows, right=[0]))


def _show_suspects(suspected: "list[Suspect]") -> None:
    from lodestream.cli import output
    from lodestream.cli.wording import plural, size
    from lodestream.fakes.shelf import SUSPECT

    if not suspected:
        output.show("", f"Nothing is suspected: no file came from more than {SUSPECT} unrelated URLs.")
        return
    rows: list[list[Cell]] = []
    for each in suspected[:SHOWN]:
        rows.append(
            [
                "  " + each.sha256[:LETTERS],
                size(each.size),
                each.origins,
                each.samples[0].url or each.samples[0].media_id,
            ]
        )
        rows += [["", "", "", sample.url or sample.media_id] for sample in each.samples[1:]]
    head = f"Suspected: {plural(len(suspected), 'file')} from more than {SUSPECT} unrelated URLs each"
    output.show("", head, output.table(["  sha256", "size", "URLs", "such as"], rows, right=[1, 2]))
    if len(suspected) > SHOWN:
        output.show(f"  and {len(suspected) - SHOWN:,} more: --json has all")
    first = suspected[0].sha256[:LETTERS]
    output.note(f"\nA fake? lode fakes add {first}. Not one, and not to be suspected again? lode fakes rm {first}.")


@fakes.command(epilog=examples("lode fakes ls", "lode fakes ls --json | jq '.[].what'"))
@click.option("--json", "as_json", is_flag=True, help="An array of entries, for programs.")
@asynchronous
async def ls(as_json: bool) -> None:
    """List the library."""
    from lodestream.cli import output
    from lodestream.cli.fakes_shelf import open_shelf
    from lodestream.cli.wording import ago, size
    from lodestream.fakes import Library

    async with open_shelf() as shelf:
        entries = Library(await shelf.entries(notes=True)).entries
    if as_json:
        output.print_json(entries)
        return
    rows = [
        [
            "fine" if entry.fine else "fake",
            entry.kind,
            entry.what[:LETTERS] if entry.kind == "sha256" else entry.what,
            size(entry.size) if entry.size is not None else None,
            ago(entry.at) if entry.at else "built in",
            entry.note,
        ]
        for entry in entries
    ]
    output.print_table(["is", "kind", "what", "size", "added", "note"], rows)


@fakes.command(
    epilog=examples(
        "lode fakes add 3fa9c2d17be0a1f4 --note 'video was removed'",
        "lode fakes add sorry.mp4",
        "lode fakes add placehold.co 'example.org/removed/*' '*/sorry.mp4' '?text=Photo #'",
        "lode fakes add 48213 --note 'the clip of 48,213 bytes that carries the time of day'",
    ),
    help=f"""Add fakes.

    {WHAT} In a pattern, * is any letters and # a number; a host stands for its subdomains, too.
    """,
)
@click.argument("what", nargs=-1, required=True)
@click.option("--note", default="", metavar="TEXT", help="What it is; refusals say so.")
@asynchronous
async def add(what: tuple[str, ...], note: str) -> None:
    """See its help."""
    from lodestream.cli import output
    from lodestream.cli.fakes_shelf import open_shelf, resolve
    from lodestream.fakes import Library

    async with open_shelf() as shelf:
        entries = [await resolve(shelf, each, note) for each in what]
        known, new = Library(await shelf.entries()), 0
        for entry in entries:
            there = known.get(entry.kind, entry.what)
            if there is None and await shelf.add(entry):
                output.show(f"added  {entry}")
                new += 1
                if entry.kind == "sha256" and (video := await shelf.stored(entry.what)):
                    output.note(f"A video with these bytes is stored; to be rid of it: lode forget {video}")
            else:
                output.show(f"known already  {await shelf.full(there or entry)}")
    if new:
        output.note(HEARD)


@fakes.command(
    epilog=examples("lode fakes rm 3fa9c2d17be0a1f4", "lode fakes rm picsum.photos"),
    help=f"""Say that something is no fake.

    {WHAT} What was added is taken off. What is built in or suspected becomes an exception, until it is added. Videos
    that were refused for it are tried when they are next offered.
    """,
)
@click.argument("what", nargs=-1, required=True)
@asynchronous
async def rm(what: tuple[str, ...]) -> int:
    """See its help."""
    from lodestream.cli import output
    from lodestream.cli.fakes_shelf import open_shelf, resolve

    changed = unknown = 0
    async with open_shelf() as shelf:
        for each in what:
            entry = await resolve(shelf, each, "")
            if done := await shelf.withdraw(entry):
                output.show(f"{done}  {entry}")
                changed += 1
            else:
                output.fail(f"not in the library: {entry}; see: lode fakes ls")
                unknown += 1
    if changed:
        output.note(HEARD)
    return 1 if unknown else 0


@fakes.command(epilog=examples("lode fakes export > fakes.jsonl"))
@asynchronous
async def export() -> None:
    """Print what was added, as JSONL."""
    from lodestream.cli.fakes_shelf import open_shelf
    from lodestream.fakes import lines

    async with open_shelf() as shelf:
        entries = await shelf.entries(notes=True)
    for line in lines.write(entries):
        click.echo(line)


@fakes.command(
    "import", epilog=examples("lode fakes import fakes.jsonl", "lode fakes export | ssh elsewhere lode fakes import -")
)
@click.argument("file", type=click.File("rb"))
@asynchronous
async def import_(file: BinaryIO) -> None:
    """Add what another instance exported.

    A file with a mistake in it changes nothing.
    """
    from lodestream.cli import output
    from lodestream.cli.fakes_shelf import open_shelf
    from lodestream.cli.wording import plural
    from lodestream.fakes import lines

    name = Path(getattr(file, "name", "<stdin>")).name
    entries = lines.parse(lines.limited(file), "standard input" if name == "<stdin>" else name)
    async with open_shelf() as shelf:
        new = await shelf.add_all(entries)
    output.show(f"{plural(len(entries), 'entry', 'entries')} read, {new:,} new, {len(entries) - new:,} known already")


fakes.add_command(scan)
fakes.add_command(cleanup)
