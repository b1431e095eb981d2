"""Processes that end together: what a killed parent leaves behind is ended, without a control group.

On Linux. Elsewhere a process that is killed with -9 leaves its children running.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Set
from pathlib import Path
from types import FrameType

from lodestream.errors import LodeError

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ORPHANS = signal.SIGUSR1
"""Tells a guard that a process has ended and may have left children."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
INTERRUPTED = 130

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None
_guard = 0


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """In a new process: have the kernel signal it when its parent dies; end where that has happened already."""
    if _libc:
        _libc.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)


def adopt_orphans() -> None:
    """From now on, those whose parents die below this process become its children."""
    if _libc:
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_orphans(known: Set[int] = frozenset()) -> None:
    """Kill every child but the known; those that end may leave more, until none is left."""
    while orphans := _children() - known:
        for orphan in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, 0)


def guarded(work: Callable[[], None]) -> None:
    """Do the work in a child process; when that ends, however it ends, all that it has started is ended too.

    When this process is killed, the work gets SIGTERM and has to end what it has started by itself. SIGTERM,
    SIGINT and SIGHUP are passed on to it. Raises LodeError where the work did, or did not end by itself.
    """
    guard, (reading, writing) = _Guard(), os.pipe()
    before = {number: signal.signal(number, guard.pass_on) for number in PASSED_ON}
    before[ORPHANS] = signal.signal(ORPHANS, guard.end_orphans)
    if guard.fork() == 0:
        os._exit(_work(work, writing))
    os.close(writing)
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(guard.worker, 0)[1])
        guard.end_orphans()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with os.fdopen(reading) as told:
        _judge(told.read(), status)


def tell_guard() -> None:
    """In guarded work: a process has ended; what it left is to be ended too."""
    if _guard:
        os.kill(_guard, ORPHANS)


class _Guard:
    """The parent of guarded work: every other child that it gets is an orphan."""

    def __init__(self) -> None:
        self.worker = 0
        self._known = _children()

    def fork(self) -> int:
        """Become two; 0 in the worker."""
        global _guard
        sys.stdout.flush()
        sys.stderr.flush()
        adopt_orphans()
        guard = os.getpid()
        self.worker = os.fork()
        self._known.add(self.worker)
        if self.worker == 0:
            for number in (*PASSED_ON, ORPHANS):
                signal.signal(number, signal.SIG_DFL)
            die_with(guard, signal.SIGTERM)
            _guard = guard
        return self.worker

    def pass_on(self, number: int, _: FrameType | None) -> None:
        """A signal handler."""
        with contextlib.suppress(ProcessLookupError):
            if self.worker:
                os.kill(self.worker, number)

    def end_orphans(self, *_: object) -> None:
        """A signal handler."""
        end_orphans(self._known)


def _work(work: Callable[[], None], tell: int) -> int:
    """Do the work; the exit status of its process. What a person can put right goes through the pipe."""
    try:
        work()
    except LodeError as error:
        os.write(tell, str(error).encode())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def _judge(told: str, status: int) -> None:
    """Raises LodeError unless the work ended well."""
    if told:
        raise LodeError(told)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    if status < 0:
        raise LodeError(f"the supervisor was ended by {signal.Signals(-status).name}, and all that it ran with it")
    if status:
        raise LodeError("the supervisor failed; the traceback above or at the end of supervisor.log says where")


def _children() -> set[int]:
    """The processes whose parent this one is."""
    me, found = str(os.getpid()), set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == me:
                found.add(int(stat.parent.name))
    return found
