"""Pictures, models and what is known of frames: shared by the node types that look at pixels."""

from proto import keys

EMBED = "embed"
"""Under this name features have their manifests and leases."""
ACCESS = (keys.VECTORS, keys.memos(EMBED))
"""Beginnings of keys that a node type which asks for features reads and writes."""
