"""One supervisor for one home: a lock that the kernel gives back when its holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lodestream.errors import LodeError
from lodestream.local.home import Home

LOOKS, PAUSE = 10, 0.05
"""Somebody who only asks holds the lock for a moment; an instance holds it for longer than these tries."""


@contextmanager
def only_supervisor(home: Home) -> Iterator[None]:
    """Hold the home's lock. Raises LodeError where an instance runs, or the folder cannot be written to."""
    try:
        home.run.mkdir(parents=True, exist_ok=True)
        opened = os.open(_file(home), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LodeError(f"cannot write to {home.root}: {error.strerror}") from None
    try:
        if not _lock(opened):
            raise LodeError(f"already up in {home.root} (pid {holder(home)}); stop it with: lode down")
        os.truncate(opened, 0)
        os.write(opened, str(os.getpid()).encode())
        yield
    finally:
        os.close(opened)


def holder(home: Home) -> int | None:
    """The process id of the home's supervisor; None where none runs."""
    try:
        opened = os.open(_file(home), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return int(os.read(opened, 20) or 0) or None
    finally:
        os.close(opened)


def _lock(opened: int) -> bool:
    for _ in range(LOOKS):
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(PAUSE)
    return False


def _file(home: Home) -> Path:
    return home.run / "lock"
