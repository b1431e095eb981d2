"""How a process of the catalog is bounded, and how it ends."""

import resource

DATA = (1 << 30) + (3 << 29)
"""DuckDB's own limit of 1 GB, and room for stacks: it does not count one huge value such as `repeat('x', 10^10)`."""
AGAIN = 75
"""Exit status that asks to be started again."""


def bound_memory() -> None:
    """Let what is too large fail as a clean error of one query."""
    resource.setrlimit(resource.RLIMIT_DATA, (DATA, DATA))
