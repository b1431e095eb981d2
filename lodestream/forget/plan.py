"""What forgetting something means: found out before anything is changed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.forget import tombs
from lodestream.forget.lineage import Lineage, Said
from lodestream.forget.stored import belonging, mentioning, others
from lodestream.forget.survey import Found, flow_streams, read, survey
from lodestream.forget.tombs import Forgotten, Kind, Tombstone
from lodestream.letters import now
from lodestream.objects import Objects, Stat
from lodestream.web.identity import canonical


@dataclass
class Plan:
    """All that would go."""

    stone: Tombstone
    lineage: Lineage
    found: Found
    objects: list[Stat]
    manifests: list[str]
    """Keys of what other seeds remember, and that is written anew without it."""
    begun: bool = False
    """Whether it was forgotten before: this would finish it."""


async def plan(bus: Bus, objects: Objects, what: str) -> Plan:
    """What would go for a video, a seed or a source. Raises LodeError where nothing is known by that name."""
    begun = await _begun(objects, what)
    stone = begun or await _new(bus, objects, what)
    return await look(bus, objects, stone, begun=begun is not None)


async def look(
    bus: Bus, objects: Objects, stone: Tombstone, *, begun: bool = False, others: Forgotten | None = None
) -> Plan:
    """All that there is of what a tombstone names, which grows to name all of it; for `others` see Lineage.

    Raises LodeError and Outage.
    """
    lineage = Lineage(stone, others)
    found = await survey(bus, lineage)
    stone.media, stone.contents = sorted(lineage.media), sorted(lineage.contents)
    stone.seeds = sorted(lineage.seeds)
    held = await belonging(objects, lineage)
    return Plan(stone, lineage, found, held, await mentioning(objects, lineage), begun)


async def _begun(objects: Objects, what: str) -> Tombstone | None:
    kinds: tuple[Kind, ...] = ("video", "seed", "source")
    for kind in kinds:
        if stone := await tombs.find(objects, kind, what):
            return stone
    return None


async def _new(bus: Bus, objects: Objects, what: str) -> Tombstone:
    kind, ident = await _resolve(bus, what)
    stone = Tombstone(kind=kind, ident=ident, at=now())
    if kind == "seed":
        stone.kept = sorted(await _kept(bus, objects, stone))
    return stone


async def _resolve(bus: Bus, what: str) -> tuple[Kind, str]:
    """Of what kind it is, and its id. Raises LodeError where nothing is known by that name."""
    url, best = _url(what), dict[Kind, str]()
    async for said in _all(bus):
        if said.type == "seed" and said.id == what:
            best["seed"] = what
        elif said.type in ("candidate", "media", "rejected") and (
            what in (said.id, said.url) or (url and _url(said.url) == url)
        ):
            best["video"] = said.id
        elif what in (said.media_id, said.repeats):
            best["video"] = what
        if said.source and said.source.lower() == what.lower():
            best["source"] = said.source
    for kind, ident in sorted(best.items()):  # a seed goes before a source, a source before a video
        return kind, ident
    raise LodeError(f"nothing is known of {what!r}: give the id or address of a video, the id of a seed, or a source")


async def _kept(bus: Bus, objects: Objects, stone: Tombstone) -> set[str]:
    """Videos of a seed that another seed led to as well: by their id, or by the same bytes."""
    mine, alive = set[str](), set[str]()
    async for said in _all(bus):
        if said.type == "candidate":
            (mine if said.seed == stone.ident else alive).add(said.id)
    kept = mine & alive | await others(objects, stone.ident, mine)
    while True:
        lineage = Lineage(Tombstone(kind="seed", ident=stone.ident, at=stone.at, kept=sorted(kept)))
        await survey(bus, lineage)
        beyond = lineage.media - mine
        if not beyond:
            return kept & mine
        roots = set(map(lineage.root, beyond))
        kept |= {one for one in lineage.media if lineage.root(one) in roots}


async def _all(bus: Bus) -> AsyncIterator[Said]:
    """Every message of every flow."""
    js = bus.nc.jetstream()
    for stream in await flow_streams(bus):
        async for _, said in read(js, stream):
            yield said


def _url(text: str) -> str:
    try:
        return canonical(text)
    except ValueError:
        return ""
