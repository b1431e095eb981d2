"""Pictures, models and what is known of frames: shared by the node types that look at pixels."""

from lodestream.errors import Malformed
from proto import keys
from proto.messages import Kept, Shard, Unique, chosen

EMBED = "embed"
"""Under this name features have their manifests and leases."""
ACCESS = (keys.VECTORS, keys.memos(EMBED))
"""Beginnings of keys that a node type which asks for features reads and writes."""


def asked(message: Shard | Kept | Unique) -> tuple[Shard, list[int]]:
    """The shard that a message speaks of, and the indices of its frames that count, ascending.

    Raises Malformed where the shard does not have them.
    """
    shard, indices = chosen(message)
    if indices and not 0 <= min(indices) <= max(indices) < len(shard.time_ms):
        raise Malformed("malformed message", f"frame {max(indices)} of a shard of {len(shard.time_ms)}")
    return shard, sorted(set(indices))
