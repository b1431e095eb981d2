"""Folders for temporary files: each process has one of its own, which the kernel holds for it for as long as it lives.

A lock tells who is dead where a process id cannot: containers that share a volume all count from 1, ids are given
again, and what was killed may stay in the table of processes for ever.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from lodestream.errors import LodeError


class _Held:
    """A folder that nobody else removes while this is open."""

    def __init__(self, folder: Path):
        """Raises OSError where it is gone, or somebody holds it."""
        self._opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(self._opened), folder.stat()):
                raise FileNotFoundError(folder)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of it."""
        os.close(self._opened)


@contextmanager
def own_folder(work: Path, node_type: str) -> Iterator[Path]:
    """A fresh folder inside the block; what dead workers of its type left is removed. Raises LodeError."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        sweep(work, [node_type])
        folder, held = _make(work, f"{node_type}-{os.uname().nodename}-")
    except OSError as error:
        raise LodeError(f"cannot write to {work}: {error.strerror}") from None
    with closing(held):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(work: Path, types: Iterable[str]) -> None:
    """Remove what dead workers of some types left."""
    for folder in [found for name in types for found in work.glob(f"{name}-*")]:
        with suppress(OSError), closing(_Held(folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _make(work: Path, prefix: str) -> tuple[Path, _Held]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=work))
        with suppress(FileNotFoundError, BlockingIOError):  # another took it for a dead one's before it was held
            return folder, _Held(folder)
