"""Memory that a process of the catalog may have."""

import resource

DATA = (1 << 30) + (3 << 29)
"""DuckDB's own limit of 1 GB, and room for stacks: it does not count one huge value such as `repeat('x', 10^10)`."""


def bound_memory() -> None:
    """Let what is too large fail as a clean error of one query."""
    resource.setrlimit(resource.RLIMIT_DATA, (DATA, DATA))
