"""Every object key. Nothing else spells one out."""

BUCKET = "lodestream"


def media(media_id: str, recipe: str, extension: str) -> str:
    """A downloaded video; `extension` without its dot."""
    return f"media/{media_id}/{recipe}.{extension}"


def shard(recipe: str, media_id: str, shard_id: str) -> str:
    """A WebDataset tar of up to 256 frames."""
    return f"frames/{recipe}/{media_id}/{shard_id}.tar"


def memo(node_type: str, recipe: str, input_id: str) -> str:
    """The manifest of what one node made of one input."""
    return f"memo/{node_type}/{recipe}/{input_id}.json"


def content(sha256: str) -> str:
    """Names the object that holds these bytes, for all flows."""
    return f"memo/fetch/content/{sha256}"


def claim(flow: str, recipe: str, sha256: str) -> str:
    """Names the first video of a flow that had these bytes."""
    return f"memo/fetch/{recipe}/claims/{flow}/{sha256}"


def snapshot(name: str) -> str:
    """A file of a catalog snapshot."""
    return f"catalog/{name}"
