"""What a file is by its first bytes; see `lodestream.web.sniff`."""

from lodestream.web.sniff import HEAD, named_as_video, sniff

__all__ = ["HEAD", "named_as_video", "sniff"]
