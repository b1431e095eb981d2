"""What the messages of one batch become in the tables."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from lodestream.letters import readable
from lodestream.records import compact
from proto import ids, messages, subjects
from proto.messages import (
    Again,
    Boxes,
    DeadLetter,
    Forgotten,
    Kept,
    Known,
    Media,
    Message,
    Rejected,
    Resolved,
    Shard,
    Unique,
)
from services.catalog import fit
from services.catalog.relations import Table
from services.catalog.tables import TABLES

TABLE_OF: dict[type[Message], Table] = {table.kind: table for table in TABLES}
MALFORMED = "malformed message"

_decode = msgspec.json.Decoder(Known).decode


class Record(NamedTuple):
    """One message of a stream."""

    stream: str
    seq: int
    at: int
    """When the stream stored it: microseconds since 1970."""
    subject: str
    data: bytes


class Count(NamedTuple):
    """What outputs are counted by."""

    flow: str
    node: str
    node_type: str
    port: str
    kind: str
    recipe: str
    source: str
    reason: str


class Row(msgspec.Struct, omit_defaults=True):
    """One row to be written: the message `m`, and where it stood."""

    m: Message
    seq: int
    at: int
    subject: str
    stream: str
    score: list[float | None] = []
    """Of each frame that a filter judged: the highest score of a prompt that speaks for it."""
    best: list[int | None] = []
    """Which of its prompts gave that, from 1."""


@dataclass
class Rows:
    """A batch, ready to be written."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    counts: dict[Count, list[int]] = field(default_factory=dict)
    """Messages, bytes, frames, and the time of the last."""
    letters: dict[str, tuple[Record, DeadLetter] | None] = field(default_factory=dict)
    """What each subject of stream DEAD says now; None where it is resolved."""
    notices: list[tuple[Record, Forgotten]] = field(default_factory=list)
    """Which messages were forgotten."""

    def add(self, record: Record) -> None:
        """Take one message; one that is not what it should be becomes a dead letter."""
        try:
            self._add(record, _check(_decode(record.data)))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self.refuse(record, MALFORMED, str(error))

    def refuse(self, record: Record, reason: str, detail: str) -> None:
        """Take a message that cannot be a row of its table: it is kept as a dead letter."""
        self._put("main.dead", record, _letter(record, reason, detail))

    def finish(self) -> "Rows":
        """Add the dead letters that stand at the end of the batch."""
        for said in self.letters.values():
            if said:
                self._put("main.dead", *said)
        return self

    def _add(self, record: Record, message: Message) -> None:
        if isinstance(message, Forgotten):
            self.notices.append((record, message))
        elif record.stream == subjects.DEAD:
            self._add_letter(record, message)
        elif table := TABLE_OF.get(type(message)):
            address = subjects.parse(record.subject)
            self._put(f"history.{table.name}", record, message)
            self._count(address, record.at, message)
        elif not isinstance(message, Again):
            raise ValueError(f"a {tag(message)} on the subject of an output")

    def _add_letter(self, record: Record, message: Message) -> None:
        if not isinstance(message, DeadLetter | Resolved):
            raise ValueError(f"a {tag(message)} on the subject of a dead letter")
        self.letters[record.subject] = (record, message) if isinstance(message, DeadLetter) else None

    def _put(self, table: str, record: Record, message: Message) -> None:
        row = Row(message, record.seq, record.at, record.subject, record.stream)
        if isinstance(message, Kept):
            row.score, row.best = best(message)
        self.tables.setdefault(table, []).append(row)

    def _count(self, address: subjects.Address, at: int, message: Message) -> None:
        reason = message.reason if isinstance(message, Rejected) else ""
        source = getattr(message, "source", "")
        what = Count(
            address.flow, address.node, address.type, address.port, tag(message), message.recipe, source, reason
        )
        tally = self.counts.setdefault(what, [0, 0, 0, 0])
        tally[0] += 1
        tally[1] += message.bytes if isinstance(message, Media) else 0
        tally[2] += _frames(message)
        tally[3] = at


def project(records: Iterable[Record]) -> Rows:
    """The rows of a batch, in order of each stream."""
    rows = Rows()
    for record in records:
        rows.add(record)
    return rows.finish()


def _check(message: Message) -> Message:
    """Raises ValueError where fields that are well each by itself do not fit together, or data are no record's."""
    if isinstance(message, messages.Record) and not message.object_key:
        message.data = msgspec.Raw(compact(bytes(message.data)))
    if isinstance(message, Shard):
        fit.shard(message)
    elif isinstance(message, Kept | Unique | Boxes):
        fit.seen(message)
    return message


def best(message: Kept) -> tuple[list[float | None], list[int | None]]:
    """The highest score of each frame by a prompt that speaks for it, and the place of that prompt, from 1.

    Asked for so often that it is worked out once: SQL takes ten times as long for it.
    """
    lists = {
        place: [-1.0 if score is None else score for score in scores]
        for place, (prompt, scores) in enumerate(message.scores.items(), 1)
        if prompt not in message.drop
    }
    if not lists:
        return [], []
    places, by_frame = list(lists), list(zip(*lists.values(), strict=True))
    highest = list(map(max, by_frame))
    which = [None if most < 0 else places[each.index(most)] for each, most in zip(by_frame, highest, strict=True)]
    return [None if most < 0 else most for most in highest], which


def _frames(message: Message) -> int:
    """How many frames a message announces: of boxes, those that have one."""
    match message:
        case Shard():
            return len(message.time_ms)
        case Kept():
            return len(message.kept)
        case Unique():
            return len(message.unique)
        case Boxes():
            return sum(map(bool, message.labels))
    return 0


def tag(message: Message | type[Message]) -> str:
    """The name of a kind of message."""
    return str(message.__struct_config__.tag)


def _letter(record: Record, reason: str, detail: str) -> DeadLetter:
    """A dead letter about a message that stands where no node could have put it."""
    parts = (record.subject.split(".") + [""] * 4)[:4]
    return DeadLetter(
        id=ids.token(record.subject.rpartition(".")[2] or record.subject),
        flow=parts[1],
        node_type=parts[2],
        node=parts[3],
        entity=record.subject.rpartition(".")[2],
        reason=reason,
        detail=detail,
        at="",
        input_subject=record.subject,
        input_stream=record.stream,
        input_seq=record.seq,
        **readable(record.data),
    )
