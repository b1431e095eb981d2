"""Leases: who is downloading what, and the slots of a host, in a KV bucket whose entries expire."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Leases(Protocol):
    """Leases that a dead holder loses in seconds."""

    def hold(self, kind: str, name: str) -> AbstractAsyncContextManager[None]:
        """Waits for the lease, renews it while it is held, and gives it back. Raises `Lost` inside when it was lost."""
