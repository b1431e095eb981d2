"""What the object store holds of something: keys that have its name as a part, manifests and ledgers that name it."""

from collections.abc import Iterable

import msgspec

from lodestream.forget.lineage import Lineage, Said
from lodestream.ledger import strike as ledger
from lodestream.memo import Manifest, sealed
from lodestream.objects import Objects, Stat
from lodestream.registry import node_types
from proto import keys
from proto.messages import Seed

_manifest = msgspec.json.Decoder(Manifest).decode
_said = msgspec.json.Decoder(Said).decode


async def belonging(objects: Objects, lineage: Lineage) -> list[Stat]:
    """Every object that is to go. Raises Outage."""
    found = [stat for root in keys.ABOUT_VIDEOS async for stat in objects.list(root) if lineage.about_key(stat.key)]
    return [stat for stat in found if not stat.key.startswith(keys.TOMBSTONES)]


async def mentioning(objects: Objects, lineage: Lineage) -> list[str]:
    """Manifests of what seeds led to, and ledgers, that name something of it among the rest. Raises Outage."""
    found = [
        stat.key
        for node_type in _listers()
        async for stat in objects.list(keys.memos(node_type))
        if not lineage.about_key(stat.key) and await _without(objects, stat.key, lineage)
    ]
    ledgers = [stat.key async for stat in objects.list(keys.LEDGERS) if keys.is_ledger(stat.key)]
    return found + [key for key in ledgers if await ledger.mentions(objects, key, lineage.media.__contains__)]


async def strike(objects: Objects, key: str, lineage: Lineage) -> None:
    """Write a manifest, or a ledger, anew without what is to be forgotten; what else it says stays. Raises Outage."""
    if keys.is_ledger(key):
        await ledger.strike(objects, key, lineage.media.__contains__)
    elif manifest := await _without(objects, key, lineage):
        await objects.put(key, sealed(manifest))


async def _without(objects: Objects, key: str, lineage: Lineage) -> Manifest | None:
    """None where it names nothing of that."""
    try:
        manifest = _manifest(await objects.get(key))
    except (KeyError, msgspec.MsgspecError):
        return None
    left = [made for made in manifest.outputs if _said(made.message) not in lineage]
    if len(left) == len(manifest.outputs):
        return None
    manifest.outputs = left
    return manifest


async def others(objects: Objects, seed: str, videos: Iterable[str]) -> set[str]:
    """Those of these videos that another seed led to as well, as far as manifests tell. Raises Outage."""
    wanted, shared = set(videos), set()
    for node_type in _listers():
        async for stat in objects.list(keys.memos(node_type)):
            try:
                manifest = _manifest(await objects.get(stat.key))
            except (KeyError, msgspec.MsgspecError):
                continue
            if manifest.input != seed:
                shared |= wanted & {_said(made.message).id for made in manifest.outputs}
    return shared


def _listers() -> list[str]:
    """Node types that make something of seeds."""
    return [name for name, node in node_types().items() if Seed in node.takes]
