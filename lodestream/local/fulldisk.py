"""A NATS server that met a full disk stores nothing more, also when there is room again: it must be started anew."""

import contextlib
import shutil
from pathlib import Path

NO_ROOM = b"no space left on device"
"""What the server's log says at each message that it then fails to store."""
ROOM = 32 << 20
"""Bytes free from which on it is worth a try."""


class FullDisk:
    """Reads the server's log as it grows."""

    def __init__(self, log: Path):
        self._log, self._read = log, 0

    def is_over(self) -> bool:
        """Whether the server has complained since the last look, and the disk has room now."""
        return self._complained() and shutil.disk_usage(self._log.parent).free > ROOM

    def _complained(self) -> bool:
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            if self._log.stat().st_size < self._read:  # a new part
                self._read = 0
            log.seek(self._read)
            grown = log.read()
            self._read += len(grown)
            return NO_ROOM in grown
        return False
