"""What the commands of `lode fakes` need of an instance."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lodestream.cli.instance import catalog
from lodestream.errors import LodeError, Outage
from lodestream.fakes import Entry, Library
from lodestream.fakes.entries import read
from lodestream.fakes.scan import digest
from lodestream.fakes.shelf import SUSPECT, Shelf, Suspect
from lodestream.fakes.walk import as_file
from lodestream.local.home import RECORD
from lodestream.objects import open_objects
from lodestream.stack import LocalStack, current

_PART = re.compile(r"(?=.*[a-f])[0-9a-f]{8,63}\Z")
REFUSALS = """
select detail as why, count(*)::bigint as videos, max("at")::varchar as last from rejects where reason = 'fake'
group by all order by videos desc, why limit 100
"""


@asynccontextmanager
async def open_shelf() -> AsyncIterator[Shelf]:
    """The library of the instance, which need not be up. Raises LodeError where there is none, or no way to it."""
    stack = current()
    if isinstance(stack, LocalStack):
        stack.home.instance()
    try:
        yield Shelf(open_objects(stack.objects()))
    except Outage as why:
        raise LodeError(str(why)) from None


async def library() -> Library:
    """All that is known here: the built-in entries alone where there is no instance."""
    stack = current()
    if isinstance(stack, LocalStack) and not (stack.home.root / RECORD).is_file():
        return Library()
    async with open_shelf() as shelf:
        return Library(await shelf.entries(notes=True))


async def suspects(shelf: Shelf, known: Library) -> list[Suspect]:
    """Bytes that came from too many origins and of which nobody has said what they are; the most frequent first."""
    found = []
    for sha256, sightings in (await shelf.sightings()).items():
        undecided = not known.fine(sha256) and not known.get("sha256", sha256)
        if len(sightings) > SUSPECT and undecided and (suspect := await shelf.suspect(sha256, sightings)):
            found.append(suspect)
    return sorted(found, key=lambda each: (-each.origins, each.sha256))


async def refusals() -> list[dict[str, Any]]:
    """Why videos were refused as fake, and how many; nothing where there is no catalog yet."""
    try:
        async with catalog() as ask:
            return (await ask(REFUSALS)).objects()
    except LodeError:
        return []


async def resolve(shelf: Shelf, what: str, note: str) -> Entry:
    """The entry that a person means. Raises LodeError, which says why none can be meant."""
    path = Path(what)
    try:
        if path.is_file():
            file = as_file(path)
            return read(digest(file), note=note or path.name[:100], size=file.size)
        if _PART.match(what.lower()):
            return await _whole(shelf, what.lower(), note)
        entry = read(what, note=note)
        return await _sized(shelf, entry) if entry.kind == "sha256" else entry
    except OSError as error:
        raise LodeError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise LodeError(str(error)) from None


async def _whole(shelf: Shelf, part: str, note: str) -> Entry:
    """By the first letters of a hash that is known or was seen."""
    hashes = {entry.what for entry in Library(await shelf.entries()).entries if entry.kind == "sha256"}
    fitting = [sha256 for sha256 in {*hashes, *await shelf.sightings()} if sha256.startswith(part)]
    if len(fitting) != 1:
        raise LodeError(f"{len(fitting) or 'no'} known hashes begin with {part}; give all 64 digits")
    return await _sized(shelf, read(fitting[0], note=note))


async def _sized(shelf: Shelf, entry: Entry) -> Entry:
    """With its size where it was seen: a scan need not read files of another size then."""
    seen = await shelf.suspect(entry.what, await shelf.origins(entry.what, 1))
    return read(entry.what, note=entry.note, size=seen.size) if seen else entry
