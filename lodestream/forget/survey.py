"""What all streams hold of something: read whole, those of removed flows and of node types unknown by now included."""

import base64
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from lodestream.bus import Bus
from lodestream.bus.reader import held
from lodestream.forget.lineage import Lineage, Said
from lodestream.forget.wishes import Wishes
from lodestream.streams import ask
from proto import subjects
from proto.messages import DeadLetter

_said = msgspec.json.Decoder(Said).decode
_letter = msgspec.json.Decoder(DeadLetter).decode


@dataclass
class Found:
    """Messages that are to go, by stream."""

    messages: dict[str, list[int]] = field(default_factory=dict)
    """Sequences, ascending."""
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    """How many of each kind."""
    mixed: list[int] = field(default_factory=list)
    """Messages of stream SEEDS that hold other seeds as well, and stay."""

    def __bool__(self) -> bool:
        return any(self.messages.values())

    def add(self, stream: str, seq: int, kind: str) -> None:
        """Note one."""
        self.messages.setdefault(stream, []).append(seq)
        self.kinds.setdefault(stream, Counter())[kind] += 1


async def survey(bus: Bus, lineage: Lineage) -> Found:
    """Read every stream, as often as something new is found; `lineage` then knows all that belongs to it."""
    js = bus.nc.jetstream()
    streams = await flow_streams(bus)
    while True:
        before, found, wishes = lineage.size, Found(), Wishes()
        for stream in streams:
            async for msg, said in read(js, stream):
                if lineage.take(msg.subject, said):
                    found.add(stream, msg.metadata.sequence.stream, said.type or "unreadable")
                    wishes.add(said)
                elif lineage.hangs(msg.subject, said):
                    found.add(stream, msg.metadata.sequence.stream, f"{said.type} to be made again")
        lineage.finish()
        if lineage.size == before:
            break
    await _letters(js, lineage, found)
    await _seeds(js, wishes, found)
    return found


async def read(js: JetStreamContext, stream: str) -> AsyncIterator[tuple[Msg, Said]]:
    """Every message of a flow's stream, with what lineage needs of it."""
    async for msg in held(js, stream, subjects.everything(subjects.flow_of(stream))):
        try:
            yield msg, _said(msg.data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            yield msg, Said()


async def flow_streams(bus: Bus) -> list[str]:
    """The streams of all flows, deployed or removed. Raises LodeError."""
    names: list[str] = []
    while True:
        answer = await ask(bus.nc, "STREAM.NAMES", {"subject": subjects.EVERY_OUTPUT, "offset": len(names)}) or {}
        names += answer.get("streams") or []
        if len(names) >= answer.get("total", 0) or not answer.get("streams"):
            return sorted(names)


async def _letters(js: JetStreamContext, lineage: Lineage, found: Found) -> None:
    """Dead letters, and the marks of those that were resolved."""
    async for msg in held(js, subjects.DEAD, subjects.dead("*", "*", "*", "*")):
        entity = msg.subject.rpartition(".")[2]
        if lineage.about_entity(entity) or _is_about(msg.data, lineage):
            found.add(subjects.DEAD, msg.metadata.sequence.stream, "dead letter")


def _is_about(data: bytes, lineage: Lineage) -> bool:
    """Whether a dead letter's input is."""
    try:
        letter = _letter(data)
        raw = base64.b64decode(letter.input) if letter.input_encoding == "base64" else letter.input.encode()
    except (msgspec.MsgspecError, ValueError):
        return False
    if letter.input_subject in lineage.subjects:
        return True
    with contextlib.suppress(msgspec.MsgspecError):
        return _said(raw) in lineage
    return False


async def _seeds(js: JetStreamContext, wishes: Wishes, found: Found) -> None:
    """What people published, where it is nothing but what is to be forgotten."""
    if not wishes:
        return
    async for msg in held(js, subjects.SEEDS, subjects.seeds(">")):
        seq = msg.metadata.sequence.stream
        match wishes.share(msg.data):
            case "all":
                found.add(subjects.SEEDS, seq, "published seed")
            case "part":
                found.mixed.append(seq)
