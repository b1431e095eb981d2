"""Logs that do not grow without bound: `name.log`, and its older parts `name.log.1`, `name.log.2`."""

import asyncio
import contextlib
import os
from pathlib import Path

LIMIT = 5 << 20
"""Bytes of one part."""
CHUNK, LAST_CHUNKS = 65_536, 64
"""Bytes read at once, and how often at the end: somebody may write for ever."""
KEPT = 2
"""Older parts."""


class RotatedLog:
    """One process's output. A disk that is full loses lines, never the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Append; a full part ends with a whole line."""
        with contextlib.suppress(OSError):
            self._file.write(data)
            if data.endswith(b"\n") and self._file.tell() > LIMIT:
                self._rotate()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _rotate(self) -> None:
        for age in range(KEPT, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                self._part(age - 1).replace(self._part(age))
        self.path.replace(self._part(1))
        self._file.close()
        self._file = self.path.open("ab", buffering=0)

    def _part(self, age: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{age}")


class Output:
    """Copies what a program writes into its log; a pipe of ours, because others may hold it open after the program."""

    def __init__(self, log: RotatedLog) -> None:
        self._log = log
        self._open: set[int] = set()

    def open(self) -> int:
        """The end to write to; to be closed here once the program has it."""
        read, write = os.pipe()
        os.set_blocking(read, False)
        self._open.add(read)
        asyncio.get_running_loop().add_reader(read, self._copy, read)
        return write

    def close(self) -> None:
        """Take what is there, and stop listening."""
        for read in list(self._open):
            for _ in range(LAST_CHUNKS):
                if not self._copy(read):
                    break
            self._end(read)
        self._log.close()

    def _copy(self, read: int) -> bool:
        """Whether there was something; at the end of the output the pipe is closed."""
        try:
            data = os.read(read, CHUNK)
        except OSError:
            return False
        self._log.write(data)
        if not data:
            self._end(read)
        return bool(data)

    def _end(self, read: int) -> None:
        if read in self._open:
            self._open.discard(read)
            asyncio.get_running_loop().remove_reader(read)
            os.close(read)


def tail(path: Path, lines: int = 10) -> str:
    """The last lines of a log, for people; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
