"""Files that are whole or absent, and never take the place of another."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lodestream.errors import LodeError


@contextmanager
def new_file(folder: Path, names: Iterable[str]) -> Iterator[tuple[BinaryIO, Callable[[], Path]]]:
    """A file to write, and what gives it the first of `names` that is free, once all is on disk.

    Nothing of it is left where it is given none. Raises LodeError where no name is free or the folder takes no files.
    """
    temp = folder / f".lode-{os.getpid()}.part"
    try:
        temp.unlink(missing_ok=True)  # of a process of this number that was killed
        file = temp.open("xb")
    except OSError as error:
        raise LodeError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        with file:
            yield file, lambda: _name(file, temp, folder, names)
    except OSError as error:
        raise LodeError(f"cannot write to {folder}: {error.strerror}") from None
    finally:
        temp.unlink(missing_ok=True)


def _name(file: BinaryIO, temp: Path, folder: Path, names: Iterable[str]) -> Path:
    file.flush()
    os.fsync(file.fileno())
    name = ""
    for name in names:
        try:
            (folder / name).hardlink_to(temp)  # unlike a rename it fails where somebody has that name
        except FileExistsError:
            continue
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
        return folder / name
    raise LodeError(f"{folder / name} is there already and is not written over; give another name")
