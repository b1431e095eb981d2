"""Every object key. Nothing else spells one out."""

from proto import ids

BUCKET = "lodestream"
DIGITS = 16
"""Hex digits of a content's SHA-256 that its key has: what a message says of an object stays true."""


def media(media_id: str, form: str, sha256: str, extension: str) -> str:
    """A downloaded video; other bytes are another object; `extension` without its dot."""
    return f"media/{media_id}/{form}-{sha256[:DIGITS]}.{extension}"


def media_of(key: str) -> str:
    """The id of the video that an object was downloaded for; empty where the key is of something else."""
    kind, _, rest = key.partition("/")
    return rest.partition("/")[0] if kind == "media" else ""


def carries(key: str, sha256: str) -> bool:
    """Whether this is the key of an object with these bytes."""
    return f"-{sha256[:DIGITS]}." in key


def same(media_id: str, form: str) -> str:
    """Names the object of another video, which has the bytes of this one."""
    return f"media/{media_id}/{form}.same"


MEDIA, FRAMES, VECTORS, RECORDS, ATTEMPTS = "media/", "frames/", "vectors/", "records/", "memo/attempts/"
FAKES, SEEN, REFUSED = "fakes/entries/", "fakes/seen/", "fakes/refused/"
"""Beginnings of keys, for the rights of those who read and write there."""


def downloads(media_id: str, form: str) -> str:
    """Begins the keys of all that was downloaded of a video in one form."""
    return f"media/{media_id}/{form}"


def gone(key: str) -> str:
    """Lies where an object was removed on purpose."""
    return f"{key}.gone"


def shard(recipe: str, media_id: str, shard_id: str, sha256: str) -> str:
    """A WebDataset tar of up to 256 frames; other bytes are another object."""
    return f"frames/{recipe}/{media_id}/{shard_id}-{sha256[:DIGITS]}.tar"


def vectors(feature: str, media_id: str, shard_id: str, sha256: str) -> str:
    """One row of numbers for each frame of a shard; other bytes are another object."""
    return f"{VECTORS}{feature}/{media_id}/{shard_id}-{sha256[:DIGITS]}.npy"


def vectors_of(feature: str, media_id: str, shard_id: str) -> str:
    """Begins the keys of all that there ever was of one feature of a shard."""
    return f"{VECTORS}{feature}/{media_id}/{shard_id}-"


def memo(node_type: str, recipe: str, input_id: str) -> str:
    """The manifest of what one node made of one input."""
    return f"memo/{node_type}/{recipe}/{input_id}.json"


def attempts(flow: str, node: str, message: str) -> str:
    """The failed attempts of one message, until it comes to its end; `message` names it for good in its stream."""
    return f"memo/attempts/{flow}/{node}/{message}.json"


def attempts_of(flow: str = "") -> str:
    """Begins the keys of all attempts at messages of a flow, or of any."""
    return f"{ATTEMPTS}{flow}/" if flow else ATTEMPTS


def is_manifest(key: str) -> bool:
    """Whether this is the key of a manifest."""
    return key.startswith("memo/") and key.endswith(".json") and key.count("/") == 3


def is_alias(key: str) -> bool:
    """Whether what lies there names the object of another video."""
    return key.startswith("media/") and key.endswith(".same")


def is_record(key: str) -> bool:
    """Whether what lies there names objects: a manifest, an alias, or an index by content."""
    return is_manifest(key) or is_alias(key) or key.startswith(content(""))


def is_product(key: str) -> bool:
    """Whether this is a video or a shard: somebody must speak of it."""
    return key.startswith(("media/", "frames/")) and not key.endswith((".same", gone("")))


def content(sha256: str) -> str:
    """Names the object that holds these bytes, for all flows."""
    return f"memo/fetch/content/{sha256}"


def told(media_id: str, form: str, sha256: str) -> str:
    """What a site said of a video when it gave these bytes."""
    return f"memo/fetch/told/{media_id}/{form}-{sha256[:DIGITS]}"


def claim(flow: str, recipe: str, sha256: str) -> str:
    """Names the first video of a flow that had these bytes."""
    return f"memo/fetch/{recipe}/claims/{flow}/{sha256}"


def fake(verdict: str, kind: str, name: str) -> str:
    """One entry of the library of fakes; the key says all of it but its note."""
    return f"{FAKES}{verdict}.{kind}.{name}"


def fake_seen(sha256: str = "", origin: str = "") -> str:
    """Notes that these bytes came from an origin; without one, begins the keys of all of them."""
    return f"{SEEN}{sha256}/{origin}" if sha256 else SEEN


def fake_refused(kind: str, what: str, refusal: str = "") -> str:
    """Notes a video whose bytes an entry refused, by recipe and id; without them, begins the keys of all of them."""
    return f"{REFUSED}{kind}/{what}/{refusal}"


def collection(name: str) -> str:
    """Begins the keys of every page of one collection of records."""
    return f"records/{name}/"


def page(collection_name: str, request: str, turn: int) -> str:
    """What came of one request for records; another `turn` where it was asked again, for what came was of no use."""
    return f"{collection(collection_name)}{request}-{turn}.json"


def record(record_id: str) -> str:
    """The data of a record that is too large for a message."""
    return f"records/data/{record_id}.json"


TOMBSTONES = "forgotten/"
"""Begins the key of every tombstone."""
ABOUT_VIDEOS = (MEDIA, FRAMES, VECTORS, "memo/", "archive/", SEEN, REFUSED, RECORDS)
"""Beginnings of keys that have the id of a video or a seed, or the digest of its bytes, as one of their parts."""


def tombstone(kind: str, ident: str) -> str:
    """Says that a video, a seed or a source was forgotten, with all that must not come back because of it."""
    return f"{TOMBSTONES}{kind}/{ids.token(ident)}.json"


def memos(node_type: str) -> str:
    """Begins the keys of all that nodes of one type remember."""
    return f"memo/{node_type}/"


LEDGERS = "dedup/"
"""Begins the keys of what is remembered of the frames of every project."""


def ledgers(flow: str) -> str:
    """Begins the keys of all ledgers of a flow."""
    return f"{LEDGERS}{flow}/"


def ledger(flow: str, node: str, recipe: str) -> str:
    """Begins the keys of one ledger: of a node with settings that give these verdicts."""
    return f"{ledgers(flow)}{node}/{recipe}/"


def ledger_origin(of: str) -> str:
    """Names the beginning of a ledger: what was written to one of the same name before it does not count."""
    return f"{of}origin"


def ledger_entries(of: str) -> str:
    """Begins the keys of a ledger's entries that are in no segment yet."""
    return f"{of}log/"


def ledger_entry(of: str, number: int) -> str:
    """One entry: created once, so that there is one sequence of them."""
    return f"{ledger_entries(of)}{number:012d}"


def ledger_segments(of: str) -> str:
    """Begins the keys of a ledger's segments."""
    return f"{of}segments/"


def ledger_segment(of: str, first: int, last: int) -> str:
    """Many entries in one object."""
    return f"{ledger_segments(of)}{first:012d}-{last:012d}"


def ledger_struck(of: str) -> str:
    """Written whenever something was struck out of a ledger; beside its segments, which are listed anyway."""
    return f"{ledger_segments(of)}struck"


def ledger_sketches(of: str, first: int, last: int) -> str:
    """Begins the keys of what was reckoned from a segment, and can be again."""
    return f"{of}sketches/{first:012d}-{last:012d}/"


def ledger_sketch(of: str, first: int, last: int, basis: str) -> str:
    """The sketches of a segment's vectors by one basis."""
    return f"{ledger_sketches(of, first, last)}{basis}"


def ledger_bases(of: str) -> str:
    """Begins the keys of the bases of a ledger's sketches, in the order of their making."""
    return f"{of}bases/"


def ledger_basis(of: str, rows: int) -> str:
    """The basis that was fitted when there were so many kept frames."""
    return f"{ledger_bases(of)}{rows:012d}"


def ledger_of(key: str) -> str:
    """The ledger, as `ledger` gives it, that an object belongs to."""
    return "/".join(key.split("/")[:4]) + "/"


def ledger_owner(of: str) -> tuple[str, str]:
    """The flow and the node whose ledger this is."""
    _, flow, node, *_ = of.split("/")
    return flow, node


def is_ledger(key: str) -> bool:
    """Whether this is the key of an entry or a segment of a ledger."""
    parts = key.split("/")
    return len(parts) == 6 and key.startswith(LEDGERS) and parts[4] in ("log", "segments") and parts[5] != "struck"


def snapshot(name: str) -> str:
    """A file of a catalog snapshot."""
    return f"catalog/{name}"
