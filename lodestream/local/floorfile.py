"""Notes of how far nodes are, in a file: it is there while an instance runs, and after it did not end in order."""

from pathlib import Path

from lodestream.local.home import write_whole


class FloorFile:
    """See `floors.Place`."""

    def __init__(self, path: Path):
        self._path = path

    async def read(self) -> bytes | None:
        """See Place."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        """See Place."""
        write_whole(self._path, data)

    async def clear(self) -> None:
        """See Place."""
        self._path.unlink(missing_ok=True)
