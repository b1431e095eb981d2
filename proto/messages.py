"""The messages. JSON on the wire; each carries its type as a tag, its version, id, recipe, digest and cause.

Lineage is a walk: `cause` is the subject of the message that this one was made from.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from proto import ids

Milliseconds = Annotated[int, Meta(ge=0, description="milliseconds of presentation time")]
Count = Annotated[int, Meta(ge=0)]
SeedKind = Literal["query", "url", "channel", "playlist", "feed", "gallery", "list", "folder", "records"]


class Message(msgspec.Struct, kw_only=True, tag_field="type"):
    """What every message says of itself."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,96}$", description="entity id")]
    v: Annotated[int, Meta(ge=1, description="version of this message type")] = 1
    recipe: Annotated[str, Meta(description="digest of all that made this; empty where no setting can change it")] = ""
    cause: Annotated[str, Meta(description="subject of the message this was made from")] = ""
    digest: Annotated[str, Meta(description="BLAKE2b-128 of the content, hex; cause excluded")] = ""


class Seed(Message, kw_only=True, tag="seed"):
    """Where to look: a search, a page, a channel, a feed, a folder."""

    kind: SeedKind
    value: Annotated[str, Meta(min_length=1, max_length=4096)]
    limit: Annotated[int, Meta(ge=1, le=100_000, description="candidates at most")] | None = None
    timeout: Annotated[float, Meta(gt=0, le=86_400, description="seconds at most")] | None = None
    labels: dict[str, str] = {}
    round: Annotated[str, Meta(max_length=64, description="look again: another round is another seed")] = ""
    lines: Annotated[str, Meta(description="the records themselves, JSON a line; else `value` leads to them")] = ""
    first: Annotated[int, Meta(ge=1, description="number of the first of those lines in what they were read from")] = 1


class Candidate(Message, kw_only=True, tag="candidate"):
    """A video that a seed led to; its id is the media id."""

    url: str
    source: Annotated[str, Meta(description="site that it comes from: youtube, or the host")]
    seed: Annotated[str, Meta(description="id of the seed")]
    title: str = ""
    uploader: str = ""
    duration_s: float | None = None
    views: int | None = None
    published: Annotated[str, Meta(description="ISO 8601")] = ""
    labels: dict[str, str] = {}


class Listing(Message, kw_only=True, tag="listing"):
    """What one seed offered, once it has been listed; its id is the seed's."""

    offered: Annotated[int, Meta(ge=0, description="candidates or records listed, known ones included")]
    complete: Annotated[bool, Meta(description="whether the source was read to its end or to the limit")] = True
    detail: str = ""


class Record(Message, kw_only=True, tag="record"):
    """One JSON object of a collection, stored once and never replaced."""

    seed: Annotated[str, Meta(description="id of the seed")]
    source: Annotated[str, Meta(description="host that it comes from; local where it is a file's or was published")]
    position: Annotated[int, Meta(ge=1, description="place in its collection: the line, or a count over its pages")]
    page: Annotated[str, Meta(description="key of the stored page that it came in; empty where none is stored")] = ""
    object_key: Annotated[str, Meta(description="key of the data where they are too large for a message")] = ""
    labels: dict[str, str] = {}
    data: Annotated[msgspec.Raw, Meta(description="the object; null where `object_key` leads to it")]


class Media(Message, kw_only=True, tag="media"):
    """A video that was fetched; its id is the media id."""

    url: str
    source: str
    sha256: str
    bytes: Count
    container: str
    codec: str
    width: Annotated[int, Meta(ge=1, description="pixels as shown, rotation applied")]
    height: Annotated[int, Meta(ge=1, description="pixels as shown, rotation applied")]
    fps: float | None = None
    duration_s: float | None = None
    rotation: Annotated[int, Meta(description="degrees clockwise that the decoder's picture is turned for showing")] = 0
    object_key: str
    title: str = ""
    uploader: str = ""
    damage: Annotated[str, Meta(description="what is wrong with the file; empty when it is whole")] = ""
    labels: dict[str, str] = {}


class Shard(Message, kw_only=True, tag="shard"):
    """Up to 256 frames of one size in one tar; `time_ms`, `offset` and `length` are parallel arrays."""

    media_id: str
    source: str
    object_key: str
    index: Annotated[int, Meta(ge=0, description="place among the shards of its video")]
    width: Annotated[int, Meta(ge=1, le=65535)]
    height: Annotated[int, Meta(ge=1, le=65535)]
    time_ms: list[Milliseconds]
    offset: Annotated[list[Count], Meta(description="byte of each JPEG in the tar")]
    length: Annotated[list[Count], Meta(description="bytes of each JPEG")]
    sampler: str
    sha256: Annotated[str, Meta(description="of the tar")] = ""
    bytes: Annotated[int, Meta(ge=0, description="of the tar")] = 0
    damage: Annotated[str, Meta(description="what of the video was lost; empty when nothing was")] = ""


class Kept(Message, kw_only=True, tag="kept"):
    """Which frames of a shard a filter keeps, and why it drops the others; its id is the shard's.

    All lists have one element for each frame of the shard; None where a frame was not measured.
    """

    media_id: str
    source: str
    shard: Shard
    kept: Annotated[list[Count], Meta(description="indices of the frames that are kept, ascending")]
    reason: Annotated[
        list[str],
        Meta(description="why a frame is dropped, in words that can be counted; empty where it is kept or not asked"),
    ]
    detail: Annotated[list[str], Meta(description="the same in full, with its numbers; may be left out")] = []
    measures: Annotated[dict[str, list[float | None]], Meta(description="by name: sharpness, brightness ...")] = {}
    scores: Annotated[dict[str, list[float | None]], Meta(description="by prompt: probability, 0 to 1")] = {}
    drop: Annotated[list[str], Meta(description="those of the prompts that speak against a frame")] = []
    model: Annotated[str, Meta(description="that gave the scores; empty where none was asked")] = ""


class Repeat(msgspec.Struct, forbid_unknown_fields=True):
    """A frame that is a near duplicate of a frame that was kept before."""

    index: Annotated[int, Meta(ge=0, description="in the shard")]
    frame: Annotated[str, Meta(description="id of the frame that it repeats")]
    similarity: Annotated[float, Meta(description="cosine, or 1 - differing bits / 64")]
    by: Literal["vectors", "phash"]


class Unique(Message, kw_only=True, tag="unique"):
    """Which frames of a shard are new to their project; its id is the shard's."""

    media_id: str
    source: str
    shard: Shard
    unique: Annotated[list[Count], Meta(description="indices of the frames that are new, ascending")]
    repeats: list[Repeat] = []
    broken: Annotated[list[Count], Meta(description="indices of frames that could not be judged")] = []
    model: Annotated[str, Meta(description="that gave the vectors; empty where none was asked")] = ""


Box = Annotated[tuple[float, float, float, float], Meta(description="x1, y1, x2, y2 in pixels of the stored frame")]


class Boxes(Message, kw_only=True, tag="boxes"):
    """What a detector found in the frames of a shard; its id is the shard's. The lists beside `frames` are parallel."""

    media_id: str
    source: str
    shard: Shard
    frames: Annotated[list[Count], Meta(description="indices of the frames that were looked at, ascending")]
    boxes: Annotated[list[list[Box]], Meta(description="for each of `frames`, best first")]
    labels: list[list[str]]
    scores: list[list[float]]
    model: str
    version: Annotated[str, Meta(description="of the model: revision or digest")] = ""
    broken: Annotated[list[Count], Meta(description="indices of frames that could not be read")] = []


class Rejected(Message, kw_only=True, tag="rejected"):
    """An honest no: not an error, and not tried again. Its id is that of what was refused."""

    reason: str
    detail: str = ""
    source: str = ""
    repeats: Annotated[str, Meta(description="media id that has the same content")] = ""


class Attempt(msgspec.Struct, omit_defaults=True):
    """One failed try."""

    at: Annotated[str, Meta(description="ISO 8601")]
    error: str
    worker: Annotated[str, Meta(description="host and process id")] = ""


class DeadLetter(Message, kw_only=True, tag="dead"):
    """What could not be done, with all that is needed to do it later."""

    flow: str
    node_type: str
    node: str
    entity: str
    reason: str
    detail: str = ""
    at: str
    attempts: list[Attempt] = []
    deliveries: int = 0
    worker: str = ""
    traceback: str = ""
    input_subject: str = ""
    input_stream: str = ""
    input_seq: int = 0
    input: Annotated[str, Meta(description="the message itself, cut at 64 KiB")] = ""
    input_encoding: Literal["utf-8", "base64"] = "utf-8"


class Resolved(Message, kw_only=True, tag="resolved"):
    """Takes the place of a dead letter that was retried or dropped."""

    how: Literal["retried", "dropped", "succeeded"]
    at: str


class Again(Message, kw_only=True, tag="again"):
    """A dead letter's input, offered to its node once more."""

    subject: Annotated[str, Meta(description="subject of the input")]
    input: msgspec.Raw
    wanted: Annotated[str, Meta(description="key of the object that is gone; empty where none is")] = ""


class Forgotten(Message, kw_only=True, tag="forgotten"):
    """Tells the catalog which messages of a stream were erased; it says nothing of what they were."""

    at: str
    sequences: Annotated[list[int], Meta(description="of the messages, in the stream that this one is in")]


class Scaled(Message, kw_only=True, tag="scaled"):
    """A service was given more workers, or fewer; its id is the service's name."""

    at: Annotated[str, Meta(description="ISO 8601")]
    before: Annotated[int, Meta(ge=0, description="workers")]
    after: Annotated[int, Meta(ge=0, description="workers")]
    waiting: Annotated[int, Meta(ge=0, description="messages not yet handed to a worker")]
    in_flight: Annotated[int, Meta(ge=0, description="messages handed to a worker and not yet answered")]
    reason: str


Known = (
    Seed
    | Candidate
    | Listing
    | Record
    | Media
    | Shard
    | Kept
    | Unique
    | Boxes
    | Rejected
    | DeadLetter
    | Resolved
    | Again
    | Forgotten
    | Scaled
)
KINDS: tuple[type[Message], ...] = (
    *(Seed, Candidate, Listing, Record, Media, Shard, Kept, Unique, Boxes),
    *(Rejected, DeadLetter, Resolved, Again, Forgotten, Scaled),
)

decode_any = msgspec.json.Decoder(Known).decode
_encoder = msgspec.json.Encoder()


def encode(message: Any) -> bytes:
    """The message as it goes over the wire."""
    return _encoder.encode(message)


_UNSEALED = b'"cause":"","digest":""'


def seal(message: Message, cause: str) -> bytes:
    """The message on the wire with its cause, a subject, and the digest of everything but that.

    Encoded once: both fields stand before any that could hold the same letters, and neither needs escaping.
    """
    message.cause = message.digest = ""
    content = encode(message)
    return content.replace(_UNSEALED, f'"cause":"{cause}","digest":"{ids.digest(content)}"'.encode(), 1)


def chosen(message: Shard | Kept | Unique) -> tuple[Shard, list[int]]:
    """The shard that a message speaks of, and the indices of its frames that go on."""
    if isinstance(message, Shard):
        return message, list(range(len(message.time_ms)))
    return message.shard, message.kept if isinstance(message, Kept) else message.unique
