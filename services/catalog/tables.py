"""The tables of messages: one line a column, with what it says and where a message has it."""

from typing import NamedTuple

from proto.messages import Candidate, DeadLetter, Listing, Media, Message, Record, Rejected, Seed, Shard


class Column(NamedTuple):
    """One column. `sql` finds it in the message `m`; where empty, it is the message's field of the same name."""

    name: str
    type: str
    says: str
    sql: str = ""


class Table(NamedTuple):
    """One table of the messages of one kind."""

    name: str
    kind: type[Message]
    says: str
    columns: tuple[Column, ...]


def _text(name: str, says: str, sql: str = "") -> Column:
    return Column(name, "VARCHAR", says, sql)


def _number(name: str, says: str, sql: str = "") -> Column:
    return Column(name, "BIGINT", says, sql)


def _real(name: str, says: str) -> Column:
    return Column(name, "DOUBLE", says)


def _labels() -> Column:
    return Column("labels", "MAP(VARCHAR, VARCHAR)", "what the seed's publisher noted on it")


def _id(name: str, says: str) -> Column:
    return _text(name, says, "m.id")


MADE_BY = (
    _text("flow", "flow", "split_part(subject, '.', 2)"),
    _text("node", "node of the flow that said it", "split_part(subject, '.', 4)"),
)
PROVENANCE = (
    _text("node_type", "type of that node", "split_part(subject, '.', 3)"),
    _text("port", "port of that node", "split_part(subject, '.', 5)"),
    _text("recipe", "digest of all that made it; empty where no setting can change it"),
    _text("cause", "subject of the message that it was made from"),
    _number("seq", "sequence in the flow's stream", "seq"),
    Column("at", "TIMESTAMP", "when the stream stored it, UTC", 'make_timestamp("at")'),
)


def _outputs(name: str, kind: type[Message], says: str, *own: Column) -> Table:
    """A table of what nodes give: who made it, its own columns, how it came here."""
    return Table(name, kind, says, (*MADE_BY, *own, *PROVENANCE))


_DAMAGED = Column("damaged", "BOOLEAN", "whether part of the file was lost", "m.damage <> ''")
_DAMAGE = _text("damage", "what was lost; empty when nothing was")

TABLES = (
    _outputs(
        "seeds",
        Seed,
        "What people published, once understood: where to look.",
        _id("seed_id", "id of the seed"),
        _text("kind", "query, url, channel, playlist, feed, gallery, list, folder or records"),
        _text("value", "the search, the address, the path"),
        _number("at_most", "candidates at most; null where the node's setting decides", 'm."limit"'),
        Column("timeout_s", "DOUBLE", "seconds at most; null where the node's setting decides", "m.timeout"),
        _text("round", "look again: another round is another seed"),
        _labels(),
    ),
    _outputs(
        "candidates",
        Candidate,
        "Videos that seeds led to.",
        _id("media_id", "id of the video"),
        _text("url", "canonical URL"),
        _text("source", "site that it comes from"),
        _text("seed_id", "seed that led to it first", "m.seed"),
        _text("title", "title"),
        _text("uploader", "uploader or channel"),
        _real("duration_s", "seconds, as the site says"),
        _number("views", "views, as the site says"),
        _text("published", "ISO 8601, as the site says"),
        _labels(),
    ),
    _outputs(
        "listings",
        Listing,
        "What each seed offered, once it has been listed.",
        _id("seed_id", "id of the seed"),
        _number("offered", "candidates or records listed, known ones included"),
        Column("complete", "BOOLEAN", "whether the source was read to its end or to the limit"),
        _text("detail", "why it was not"),
    ),
    _outputs(
        "records",
        Record,
        "JSON objects of collections, each stored once and never replaced; to a file: `lode export records`.",
        _id("record_id", "id of the record: its own, or a digest of its content"),
        _text("seed_id", "seed that led to it first", "m.seed"),
        _text("source", "host that it comes from; local where it is a file's or was published"),
        _number("position", "place in its collection, from 1: the line, or a count over its pages"),
        Column(
            "data",
            "JSON",
            "the record; null where it is too large for a row",
            "case m.object_key when '' then m.data end",
        ),
        _text("object_key", "key of the record in the object store, where it is too large"),
        _text("page", "key of the stored page that it came in"),
        _labels(),
    ),
    _outputs(
        "media",
        Media,
        "Videos that were fetched.",
        _id("media_id", "id of the video"),
        _text("url", "URL that it was fetched from"),
        _text("source", "site that it comes from"),
        _text("sha256", "SHA-256 of the file, hex"),
        _number("bytes", "size of the file"),
        _text("container", "container format"),
        _text("codec", "video codec"),
        _number("width", "pixels as shown, rotation applied"),
        _number("height", "pixels as shown, rotation applied"),
        _real("fps", "frames per second; null where the file does not say"),
        _real("duration_s", "seconds; null where the file does not say"),
        _DAMAGED,
        _text("object_key", "key of the file in the object store"),
        _number("rotation", "degrees clockwise that the decoder's picture is turned for showing"),
        _DAMAGE,
        _text("title", "title"),
        _text("uploader", "uploader or channel"),
        _labels(),
    ),
    _outputs(
        "shards",
        Shard,
        "Tars of up to 256 frames of one video; three parallel lists say where each frame lies.",
        _id("shard_id", "id of the shard"),
        _text("media_id", "id of the video"),
        _text("source", "site that the video comes from"),
        _text("shard_key", "key of the tar in the object store", "m.object_key"),
        _number("place", "place among the shards of its video, from 0", 'm."index"'),
        _number("frames", "number of frames", "len(m.time_ms)"),
        _number("width", "pixels of every frame"),
        _number("height", "pixels of every frame"),
        _text("sampler", "how the frames were chosen"),
        _DAMAGED,
        _DAMAGE,
        Column("time_ms", "UINTEGER[]", "presentation time of each frame, milliseconds"),
        Column("byte_offset", "BIGINT[]", "byte of the tar at which each JPEG begins", 'm."offset"'),
        Column("byte_length", "UINTEGER[]", "bytes of each JPEG", 'm."length"'),
    ),
    _outputs(
        "rejects",
        Rejected,
        "What nodes refused honestly: not errors, and not tried again.",
        _id("entity", "id of what was refused: a video's, a seed's"),
        _text("reason", "why, in a word or two that can be counted"),
        _text("detail", "why, in full"),
        _text("source", "site that it comes from"),
        _text("repeats", "video that has the same content"),
    ),
)
"""What nodes give, by kind of message."""

DEAD = Table(
    "dead",
    DeadLetter,
    "What could not be done and waits for a person: `lode dead ls`. One that is retried or dropped leaves.",
    (
        _text("flow", "flow"),
        _text("node", "node of the flow that gave it up"),
        _text("entity", "what could not be done: the last token of its input's subject"),
        _text("reason", "why, in a word or two that can be counted"),
        _text("detail", "why, in full"),
        _text("source", "site that it comes from, where its input says", "try_cast(m.input AS JSON)->>'$.source'"),
        _number("deliveries", "times that it was handed to a worker"),
        Column("attempts", 'STRUCT("at" VARCHAR, error VARCHAR)[]', "each failed try: when (ISO 8601), and its error"),
        _text("worker", "host and process that gave up"),
        _text("traceback", "where in the code; empty where that does not matter"),
        _text("input_subject", "subject of the message that could not be handled"),
        _text("input_stream", "stream that keeps it"),
        _number("input_seq", "its sequence there"),
        _text("input", "the message itself, cut at 64 KiB"),
        _text("input_encoding", "utf-8 or base64"),
        _text("subject", "subject of the dead letter, or of the message that no node could have written", "subject"),
        _text("stream", "stream that keeps that one", "stream"),
        _text("node_type", "type of that node"),
        _number("seq", "sequence in that stream", "seq"),
        Column("at", "TIMESTAMP", "when that stream stored it, UTC", 'make_timestamp("at")'),
    ),
)
