"""The warm process that `children` forks its children from: `python -m lodestream.zygote MODULE FD`.

It imports MODULE once, then forks one child per job. It ends, and all that it started with it, when the service does:
the socket that jobs arrive on then reads as closed.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any

PACKET = 1 << 17
"""Bytes of one message on the socket, at most."""
LINE = 4 << 20
"""Bytes of one event, at most."""
NICE = 5
"""Behind the services: downloads and decoding wait for those who answer people, not the other way round."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Zygote:
    """Forks a child per job that arrives on `sock`, and says there how each ended."""

    def __init__(self, sock: socket.socket, run: Callable[..., None], prepare: Callable[[dict[str, Any]], None]):
        self.sock, self.run, self.prepare = sock, run, prepare
        self.children: dict[int, int] = {}
        """Number of the job by pid."""
        self.woken, wake = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the closed socket tells it too, and then it ends in order
        _prctl(
            _PR_SET_CHILD_SUBREAPER, 1
        )  # what a killed child had started is reaped here, not by a pid 1 that may not

    def serve(self) -> None:
        """Until the service is gone."""
        try:
            while self._step():
                pass
        finally:
            for pid in self.children:
                _kill_group(pid)

    def _step(self) -> bool:
        ready, _, _ = select.select([self.sock.fileno(), self.woken], [], [])
        if self.woken in ready:
            os.read(self.woken, 4096)
            self._reap()
        return self.sock.fileno() not in ready or self._receive()

    def _receive(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.sock, PACKET, 1)
        if data:
            asked = json.loads(data)
            if "kill" in asked:
                for pid in [p for p, number in self.children.items() if number == asked["kill"]]:
                    _kill_group(pid)
            else:
                self._fork(asked, fds[0])
        return bool(data)

    def _fork(self, asked: dict[str, Any], fd: int) -> None:
        service = os.getpid()
        with contextlib.suppress(Exception):  # the child meets the same, and says so
            self.prepare(asked["job"])
        if pid := os.fork():
            os.close(fd)
            self.children[pid] = asked["run"]
            return
        code = 1
        try:
            _become_child(service, asked["limits"], fd)
            self.run(asked["job"], asked["folder"], Emitter(fd))
            code = 0
        except BaseException as error:
            said = [type(error).__name__, str(error), traceback.format_exc()]
            _write(fd, json.dumps([part[-60_000:] for part in said]).encode() + b"\n")
        finally:
            os._exit(code)  # whatever happens, a child never goes on as a second zygote

    def _reap(self) -> None:
        """Looks before it reaps: while a child is a zombie nobody else can have its pid, so its group may be killed."""
        while True:
            try:
                seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if seen is None:
                return
            if seen.si_pid in self.children:
                _kill_group(seen.si_pid)
            _, status = os.waitpid(seen.si_pid, 0)
            if (number := self.children.pop(seen.si_pid, None)) is not None:
                self.sock.send(json.dumps({"gone": number, "code": os.waitstatus_to_exitcode(status)}).encode())


class Emitter:
    """Sends events to the service, one JSON line each."""

    def __init__(self, fd: int):
        self.fd = fd

    def __call__(self, event: dict[str, Any], lossy: bool = False) -> None:
        """A `lossy` event is dropped where it would have to wait. Raises ValueError where one is over 4 MiB."""
        line = json.dumps(event).encode() + b"\n"
        if len(line) > LINE:
            raise ValueError(f"an event of {len(line)} bytes; {LINE} at most")
        if lossy and (len(line) > select.PIPE_BUF or not select.select([], [self.fd], [], 0)[1]):
            return
        _write(self.fd, line)


def _become_child(zygote: int, limits: dict[str, int], fd: int) -> None:
    """Leave the zygote's session, signals and files behind; die with it; take on the limits."""
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.closerange(3, fd)
    os.closerange(fd + 1, 65_536)
    for name, value in {**limits, "CORE": 0}.items():  # not AS: a JavaScript engine reserves tens of gigabytes of it
        hard = value + 1 if name == "CPU" else value  # for SIGXCPU, which says why; at the hard limit it is SIGKILL
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, hard))


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _kill_group(pid: int) -> None:
    """Both ways: a child that has not had the time for `setsid` has no group yet."""
    for kill in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError):
            kill(pid, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def main(name: str, fd: int) -> None:
    """Import the module, say so (or why not), and serve."""
    sock = socket.socket(fileno=fd)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # an import that hangs must not outlive the service
    os.nice(NICE)
    try:
        module = import_module(name)
        getattr(module, "warm", lambda: None)()
    except BaseException:
        sock.send(json.dumps({"failed": traceback.format_exc()[-60_000:]}).encode())
        raise
    gc.collect()
    gc.freeze()  # so that a child's collector does not touch, and thereby copy, what it shares
    with contextlib.suppress(ConnectionError):
        sock.send(b'{"ready": true}')
        Zygote(sock, module.run, getattr(module, "prepare", lambda job: None)).serve()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
