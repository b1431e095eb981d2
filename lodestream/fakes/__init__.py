"""Known fakes: what stands in for a video on the web, known by its bytes, its size or its URL."""

from lodestream.fakes.entries import Entry
from lodestream.fakes.library import Library

__all__ = ["Entry", "Library"]
