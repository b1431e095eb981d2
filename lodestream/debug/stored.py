"""Finds one stored message: by its subject, its stream and sequence, or the id of what it is about."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.flow.model import Deployed, DeployedNode
from lodestream.forget.survey import flow_streams
from proto import subjects

_PLACE = re.compile(r"([A-Za-z0-9_-]+)[: ](\d+)\Z")
FEW = 8
"""Subjects that are named where one is to be chosen."""


class Stored(NamedTuple):
    """A message where it lies."""

    stream: str
    seq: int
    subject: str
    data: bytes


async def find(bus: Bus, what: str) -> Stored:
    """The message. Raises LodeError where there is none, or where several are meant."""
    js = bus.nc.jetstream(timeout=10)
    if place := _PLACE.match(what):
        return await _get(js, place[1], what, seq=int(place[2]))
    if what.startswith("flow.") and what.count(".") == 5:
        return await _get(js, subjects.stream(subjects.parse(what).flow), what, subject=what)
    if subjects.is_seed(what):
        return await _get(js, subjects.SEEDS, what, subject=what)
    there = [subject for stream in await flow_streams(bus) for subject in await _about(js, stream, what)]
    if not there:
        raise LodeError(f"no stored message is about {what!r}; give a subject, STREAM:SEQUENCE or an id: lode show ID")
    if len(there) > 1:
        more = f" and {len(there) - FEW} more" if len(there) > FEW else ""
        raise LodeError(
            f"{len(there)} messages are about {what}; name one by its subject: {', '.join(there[:FEW])}{more}"
        )
    return await find(bus, there[0])


async def _about(js: JetStreamContext, stream: str, ident: str) -> list[str]:
    """Subjects of one stream whose entity is this id, with or without a recipe."""
    info = await js.stream_info(stream, subjects_filter=subjects.everything(subjects.flow_of(stream)))
    entities = {subject: subject.rpartition(".")[2] for subject in info.state.subjects or {}}
    return sorted(s for s, entity in entities.items() if ident in (entity, entity.rpartition("_")[0]))


async def _get(js: JetStreamContext, stream: str, what: str, **where: int | str) -> Stored:
    try:
        found = await js.get_msg(stream, **where)
    except NotFoundError:
        raise LodeError(f"there is no message {what}; what there is: lode show ID") from None
    return Stored(stream, found.seq or 0, found.subject or "", found.data or b"")


def takers(flows: Mapping[str, Deployed], message: Stored, recipe: str) -> list[tuple[str, str, DeployedNode]]:
    """The deployed nodes that take a message: flow, name and node of each."""
    return [
        (flow.flow, name, node)
        for flow in flows.values()
        for name, node in flow.nodes.items()
        if node.accepts(message.subject, recipe, message.seq)
    ]
