"""Dead letters: what could not be done. Listed, shown, offered to their node once more, or dropped."""

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec
from nats.js import JetStreamContext
from nats.js.errors import APIError, NoStreamResponseError

from lodestream.bus.reader import held
from lodestream.errors import LodeError
from lodestream.flow.model import Deployed
from lodestream.flow.store import NOT_THE_LAST
from lodestream.letters import INPUT_KEPT, history, now
from proto import subjects
from proto.messages import Again, DeadLetter, Resolved, encode

OFFERED_BEFORE = "maximum messages per subject exceeded"
"""How JetStream describes its refusal of an identity that it has."""

_decode = msgspec.json.Decoder(DeadLetter | Resolved).decode


class Dead(NamedTuple):
    """A dead letter where it lies: its subject, its sequence in stream DEAD, and what it says."""

    subject: str
    seq: int
    letter: DeadLetter
    at: datetime | None = None
    """When the server stored it, by its own clock."""

    def answers_to(self, what: str) -> bool:
        """Whether `what` names it: by entity, id, node, reason or subject."""
        letter = self.letter
        return what in (letter.entity, letter.id, letter.node, self.subject) or what.lower() == letter.reason.lower()


async def unresolved(js: JetStreamContext, flow: str = "*") -> list[Dead]:
    """Every dead letter of `flow` (`*`: of all) that is not resolved, oldest first."""
    return [
        Dead(msg.subject, msg.metadata.sequence.stream, letter, msg.metadata.timestamp)
        async for msg in held(js, subjects.DEAD, subjects.dead(flow, "*", "*", "*"))
        if isinstance(letter := _read(msg.data), DeadLetter)
    ]


def _read(data: bytes) -> DeadLetter | Resolved | None:
    try:
        return _decode(data)
    except msgspec.MsgspecError:
        return None


def select(letters: Iterable[Dead], names: Iterable[str]) -> list[Dead]:
    """Those that `names` stand for: an id, an entity, a node, a reason. Raises LodeError where one fits none."""
    listed, wanted = list(letters), list(names)
    for what in wanted:
        if not any(dead.answers_to(what) for dead in listed):
            raise LodeError(f"no dead letter has the id, node or reason {what!r}; see: lode dead ls")
    return [dead for dead in listed if any(dead.answers_to(what) for what in wanted)]


async def input_of(js: JetStreamContext, dead: Dead) -> bytes:
    """The bytes of the message that failed; read again from its stream where the dead letter holds a part only.

    Raises LodeError where the stream has it no more.
    """
    letter = dead.letter
    data = base64.b64decode(letter.input) if letter.input_encoding == "base64" else letter.input.encode()
    if len(data) < INPUT_KEPT and letter.input:
        return data
    try:
        return (await js.get_msg(letter.input_stream, seq=letter.input_seq)).data or b""
    except (APIError, ValueError):
        where = f"message {letter.input_seq} of stream {letter.input_stream or '(unknown)'}"
        raise LodeError(
            f"{letter.entity}: its input is gone ({where}); drop it: lode dead drop {letter.entity}"
        ) from None


def require_taker(flows: Mapping[str, Deployed], dead: Dead) -> None:
    """Raises LodeError where nobody would take its input if it were offered once more."""
    letter, flow = dead.letter, flows.get(dead.letter.flow)
    if flow is None:
        there = f"deploy it, and this is taken, or drop it: lode dead drop {letter.entity}"
        raise LodeError(f"{letter.entity}: no flow {letter.flow!r} is deployed; {there}")
    node = flow.nodes.get(letter.node)
    if letter.input_stream != subjects.SEEDS and (node is None or node.type != letter.node_type):
        what = f"node {letter.node} of type {letter.node_type}"
        raise LodeError(
            f"{letter.entity}: flow {letter.flow} has no {what} any more; drop it: lode dead drop {letter.entity}"
        )


async def retry(js: JetStreamContext, dead: Dead) -> bool:
    """Offer its input to its node once more, and mark it retried; False where somebody has done so before.

    It may have failed again before it is marked: then the newer dead letter stays. Raises LodeError where its input
    is gone or unreadable.
    """
    letter, data = dead.letter, await input_of(js, dead)
    offered = True
    if letter.input_stream == subjects.SEEDS:
        await js.publish(subjects.seeds(letter.flow), data, headers=history(letter))
    else:
        again = again_of(dead, data)
        port = offered_on(letter.flow, letter.node_type, letter.node, again.subject, dead.seq)
        offered = await offer(js, port, again, history(letter))
    return await _resolve(js, dead, "retried") or offered


async def drop(js: JetStreamContext, dead: Dead) -> bool:
    """Mark it dropped: it is listed no more; False where it has been resolved meanwhile."""
    return await _resolve(js, dead, "dropped")


async def settle(js: JetStreamContext, dead: Dead) -> bool:
    """Mark it succeeded: its input was done in another way; False where it has been resolved meanwhile."""
    return await _resolve(js, dead, "succeeded")


def again_of(dead: Dead, data: bytes) -> Again:
    """The offer of an input; one that was an offer itself is offered as what it held. Raises LodeError."""
    letter = dead.letter
    try:
        if f".{subjects.AGAIN}." in letter.input_subject:
            held = msgspec.json.decode(data, type=Again)
            return Again(id=letter.id, subject=held.subject, input=held.input, cause=dead.subject)
        msgspec.json.decode(data)
    except msgspec.MsgspecError as error:
        why = f"{letter.entity}: its input is no message ({error}); drop it: lode dead drop {letter.entity}"
        raise LodeError(why) from None
    return Again(id=letter.id, subject=letter.input_subject, input=msgspec.Raw(data), cause=dead.subject)


def offered_on(flow: str, node_type: str, node: str, subject: str, number: int) -> str:
    """The node's own `again` port for an input of this subject; each `number` is an offer of its own."""
    return subjects.output(flow, node_type, node, subjects.AGAIN, f"{subject.rpartition('.')[2]}_{number}")


async def offer(js: JetStreamContext, port: str, again: Again, headers: dict[str, str] | None = None) -> bool:
    """Publish an offer; False where it was made before. Raises LodeError where the flow has no stream."""
    try:
        await js.publish(port, encode(again), headers=headers)
    except NoStreamResponseError:
        flow, entity = subjects.parse(port).flow, again.subject.rpartition(".")[2]
        why = f"flow {flow} is not deployed: nobody would take {entity}; see: lode flow ls"
        raise LodeError(why) from None
    except APIError as error:
        if error.description != OFFERED_BEFORE:
            raise
        return False
    return True


async def _resolve(js: JetStreamContext, dead: Dead, how: Literal["retried", "dropped", "succeeded"]) -> bool:
    """Replace the dead letter, but never a newer one on the same subject: its node may have failed again already."""
    mark = Resolved(id=dead.letter.id, how=how, at=now(), cause=dead.subject)
    try:
        await js.publish(
            dead.subject,
            encode(mark),
            headers={"Nats-Expected-Last-Subject-Sequence": str(dead.seq)},
            stream=subjects.DEAD,
        )
    except APIError as error:
        if error.err_code != NOT_THE_LAST:
            raise
        return False
    return True
