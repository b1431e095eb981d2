"""Removes flows, and says beforehand what that takes away."""

import msgspec
from nats.aio.client import Client

from lodestream.attempts import forget_all
from lodestream.deadletters import unresolved
from lodestream.flow import consumers, store, stream
from lodestream.flow.deploy import converge
from lodestream.flow.store import Stored
from lodestream.objects import Objects
from lodestream.streams import ask
from proto import keys, subjects


class Held(msgspec.Struct, frozen=True):
    """What there is of a flow on the server."""

    flow: str
    consumers: list[str]
    messages: int
    """What it gave, in its stream."""
    bytes: int
    seeds: int
    """What people published for it."""
    dead: int
    """Dead letters that wait."""


async def held(nc: Client, flow: str) -> Held:
    """What removing a flow would take away; all but its consumers only where it is purged.

    Raises LodeError where there is no such flow.
    """
    stored, state = await store.read(nc, flow), await stream.state(nc, flow)
    if not stored.there and state is None:
        await store.refuse(nc, flow)
    there = state["state"] if state else {"messages": 0, "bytes": 0}
    return Held(
        flow,
        [durable for _, durable in await consumers.infos(nc, flow)],
        there["messages"],
        there["bytes"],
        await consumers.stored(nc, subjects.SEEDS, subjects.seeds(flow)),
        len(await unresolved(nc.jetstream(), flow)),
    )


async def remove(nc: Client, flow: str, *, purge: bool = False) -> Held:
    """Stop a flow: its record and consumers go, and what it gave is kept; gives what there was of it.

    With `purge` its stream goes too, and its seeds and dead letters; objects stay, see `free`. Raises LodeError where
    there is no such flow.
    """
    was = await held(nc, flow)
    stored = await store.read(nc, flow)
    revision = await store.erase(nc, flow, stored) if stored.there else stored.revision
    await converge(nc, flow, Stored(None, revision))
    if purge:
        await ask(nc, f"STREAM.DELETE.{subjects.stream(flow)}", {}, may_lack=True)
        await _purge(nc, subjects.SEEDS, subjects.seeds(flow))
        await _purge(nc, subjects.DEAD, subjects.dead(flow, "*", "*", "*"))
    return was


async def free(objects: Objects, flow: str, *, purge: bool) -> None:
    """Remove what was noted of attempts at its messages, which nobody is given any more.

    With `purge` what is remembered of the frames that it has had, too: they are new to the next flow of its name.
    Raises Outage.
    """
    await forget_all(objects, flow)
    if purge:
        async for stat in objects.list(keys.ledgers(flow)):
            await objects.delete(stat.key)


async def _purge(nc: Client, name: str, subject: str) -> None:
    await ask(nc, f"STREAM.PURGE.{name}", {"filter": subject}, may_lack=True)
