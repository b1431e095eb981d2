"""Strikes out of ledgers what is to be forgotten: the rows of its frames, what was said of it, and its name."""

import secrets
from collections.abc import Callable

import msgspec

from lodestream.ledger.pack import VERDICTS, Broken, Judged, Pack, Said, packed, read_verdict, unpacked, without_rows
from lodestream.objects import Objects
from proto import ids, keys

Names = Callable[[str], bool]
"""Whether this is the id of a video that is to be forgotten."""
STRUCK = b"{}"
"""In place of a verdict."""


async def mentions(objects: Objects, key: str, names: Names) -> bool:
    """Whether an object of a ledger speaks of something to be forgotten. Raises Outage."""
    try:
        pack = await without_rows(objects, key)
    except (Broken, KeyError):
        return False
    return any(each.media and names(each.media) for each in pack.header.shards) or any(
        _repeats(verdict, names) for each, verdict in pack.said() if each.media
    )


async def strike(objects: Objects, key: str, names: Names) -> None:
    """Write an object of a ledger anew without that; the numbers of rows stay what they are. Raises Outage."""
    try:
        pack = unpacked(await objects.get(key))
    except (Broken, KeyError):
        return
    await objects.put(key, struck(pack, names))
    ledger = keys.ledger_of(key)
    async for made in objects.list(keys.ledger_sketches(ledger, pack.header.first, pack.header.last)):
        await objects.delete(made.key)
    await objects.put(keys.ledger_struck(ledger), secrets.token_bytes(8))


def struck(pack: Pack, names: Names) -> bytes:
    """The pack without it."""
    head = pack.header
    rows = {name: bytearray(pack.array(name)) for name in head.arrays if name != VERDICTS}
    said, at = list[Said](), 0
    for each, verdict in pack.said():
        if each.media and names(each.media):
            for name, array in rows.items():
                width = head.arrays[name].row
                array[at * width : (at + each.rows) * width] = bytes(each.rows * width)
            said.append((Judged("", "", "", "", each.rows), STRUCK))
        else:
            said.append((each, _without(verdict, names)))
        at += each.rows
    arrays = {name: ([bytes(array)], head.arrays[name].row) for name, array in rows.items()}
    return packed(head.origin, head.first, head.last, said, arrays)


def _repeats(verdict: bytes, names: Names) -> bool:
    return any(names(ids.media_of_frame(repeat.frame)) for repeat in read_verdict(verdict).repeats if repeat.frame)


def _without(verdict: bytes, names: Names) -> bytes:
    """A verdict whose repeats of forgotten frames name none."""
    if not _repeats(verdict, names):
        return verdict
    said = read_verdict(verdict)
    for repeat in said.repeats:
        if repeat.frame and names(ids.media_of_frame(repeat.frame)):
            repeat.frame = ""
    return msgspec.json.encode(said)


async def owing(objects: Objects, ledger: str) -> list[Judged]:
    """The shards whose last verdict says that a frame repeats one that was struck out. Raises Outage."""
    found: dict[str, Judged] = {}
    for prefix in (keys.ledger_segments(ledger), keys.ledger_entries(ledger)):
        async for stat in objects.list(prefix):
            if keys.is_ledger(stat.key):
                await _owing(objects, stat.key, found)
    return list(found.values())


async def _owing(objects: Objects, key: str, found: dict[str, Judged]) -> None:
    try:
        said = (await without_rows(objects, key)).said()
    except (Broken, KeyError):
        return
    for judged, verdict in said:
        if judged.entity and any(not repeat.frame for repeat in read_verdict(verdict).repeats):
            found[judged.entity] = judged
        else:
            found.pop(judged.entity, None)
