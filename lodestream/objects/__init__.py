"""Objects: one small interface, two stores, a directory and anything that speaks S3."""

from lodestream.objects.base import Objects, Stat, open_objects, shown

__all__ = ["Objects", "Stat", "open_objects", "shown"]
