"""Entity ids: what a message is about, in the letters that a NATS token and an object key both allow."""

import re
from hashlib import blake2b

LONGEST = 96
"""Letters of an id; a subject's entity token is an id, `_` and a recipe, and stays under 128."""

_SAFE = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST}}}\Z")


def digest(data: bytes, size: int = 16) -> str:
    """BLAKE2b of `data` in hex; `size` is in bytes."""
    return blake2b(data, digest_size=size).hexdigest()


def is_token(text: str) -> bool:
    """Whether `text` can stand as one id: 1 to 96 of `A-Z a-z 0-9 _ -`."""
    return _SAFE.match(text) is not None


def token(text: str) -> str:
    """`text` itself where it is a token, else `h-` and its digest."""
    return text if is_token(text) else "h-" + digest(text.encode())


def media_id(source: str, native: str) -> str:
    """The id of a video that its source names itself: `youtube-dQw4w9WgXcQ`."""
    plain = f"{source.lower()}-{native}"
    return plain if is_token(plain) else f"{token(source.lower())[:40]}-{digest(native.encode())}"


def web_id(canonical_url: str) -> str:
    """The id of a video known by its canonical URL only."""
    return "web-" + digest(canonical_url.encode(), 12)


def is_web(media: str) -> bool:
    """Whether a video is known by its URL only."""
    return media.startswith("web-")


def frame_id(media: str, time_ms: int) -> str:
    """The id of one frame: its video and its presentation time in milliseconds."""
    return f"{media}_{time_ms}"


def media_of_frame(frame: str) -> str:
    """The video that a frame's id names."""
    return frame.rpartition("_")[0]


def shard_id(media: str, index: int) -> str:
    """The id of the `index`-th shard of a video's frames."""
    return f"{media}_s{index:04d}"


def record_id(scope: str, own: str) -> str:
    """The id of a record that its collection, `scope`, names itself."""
    return token(f"{own}-{digest(scope.encode(), 4)}")


def content_id(canonical: bytes) -> str:
    """The id of a record known by its content only, which is given in its one spelling."""
    return "rec-" + digest(canonical)


def recipe(node_type: str, version: int, settings: bytes, input_recipe: str) -> str:
    """Eight hex letters for all that shapes an output: type, version, settings, and the input's own recipe."""
    return digest(b"\0".join((node_type.encode(), str(version).encode(), settings, input_recipe.encode())), 4)


def entity(ident: str, made_by: str) -> str:
    """The last token of a subject: the id, and the recipe where the content depends on one."""
    return f"{ident}_{made_by}" if made_by else ident
