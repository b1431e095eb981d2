"""What the scaler and its hands say to each other: one JSON line there, one back, over a Unix socket."""

from pathlib import Path

import msgspec

SOCKET = Path("/run/hands/socket")
"""In a volume that both have, and nobody else."""
LONGEST_LINE = 4096
"""Bytes."""
SCALE = "LODE_SCALE"
"""The variable that names the services, and how many workers each has at least and at most: `extract=1-4 fetch=1-8`."""


class Wish(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """So many containers of a service; without one, only an answer is wanted."""

    service: str = ""
    replicas: int = 0


class Answer(msgspec.Struct, omit_defaults=True):
    """Containers of each service that may be scaled, or why nothing was done."""

    replicas: dict[str, int] = {}
    error: str = ""
