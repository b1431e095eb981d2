"""Dangerous work in children that may be killed: forked from a warm zygote, bounded, and gone when they should be.

A module with `run(job: dict, folder: str, emit)` does the work; it is imported in the zygote only, once, where its
`warm()` is called if it has one, and its `prepare(job)` before each fork: children share what these load. `emit(event)`
sends a dict to the service; `emit(event, lossy=True)` one that may be dropped (progress). `run` closes its own files.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lodestream.pipes import Lines
from lodestream.zygote import PACKET

PASSED_ON = ("LODE_YTDLP_PLUGINS", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""All that a child sees of the service's environment: no secrets, no proxies, no settings of other programs."""


@dataclass(frozen=True)
class Limits:
    """What one job may use; past it the child is killed."""

    deadline_s: float
    """Seconds in all; those in which nobody waits for the next event do not count."""
    cpu_s: int
    memory_bytes: int
    """Of data (RLIMIT_DATA), the zygote's share included."""
    file_bytes: int
    """Of one file."""
    stall_s: float | None = None
    """Seconds from one event to the next."""

    def resources(self) -> dict[str, int]:
        """As the kernel knows them."""
        return {"CPU": self.cpu_s, "DATA": self.memory_bytes, "FSIZE": self.file_bytes}


class ChildFailed(Exception):
    """`run` raised: `kind` is the exception's class, `text` its words; its traceback is a note on this exception."""

    def __init__(self, kind: str, text: str, traceback: str = ""):
        super().__init__(f"{kind}: {text}")
        self.kind, self.text = kind, text
        if traceback:
            self.add_note(traceback)


class ChildDied(Exception):
    """The child ended by `signal`: it crashed, used more CPU than it may, or somebody killed it."""

    def __init__(self, signal_number: int):
        super().__init__(f"the child died of {_name(signal_number)}")
        self.signal = signal_number


class ChildTimeout(Exception):
    """The child took longer than its deadline, or was silent for longer than it may be."""


class Children:
    """Runs jobs in children of one zygote; `async with` starts and ends it. A zygote that dies is started again."""

    def __init__(self, module: str, work: Path):
        """`module` is imported in the zygote; temporary folders lie under `work`."""
        self.module, self.work = module, work
        self._link: _Link | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> "Children":
        self.work.mkdir(parents=True, exist_ok=True)
        self._link = await _Link.start(self.module, self.work)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._link:
            await self._link.close()

    async def run(
        self, job: dict[str, Any], *, limits: Limits, folder: Path | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one job, in order; the child is gone once this ends, however it ends (use `aclosing`).

        Files are made in `folder`, or else in a fresh one that is removed at the end. Raises ChildFailed, ChildDied,
        ChildTimeout.
        """
        link = await self._running()
        path = folder or Path(tempfile.mkdtemp(prefix="job-", dir=self.work))
        patience = _Patience(limits.deadline_s, limits.stall_s)
        try:
            asked = {"job": job, "folder": str(path), "limits": limits.resources()}
            async with link.fork(asked) as (lines, ended):
                while line := await patience.line(lines):
                    said = json.loads(line)
                    if isinstance(said, list):
                        raise ChildFailed(*said)
                    yield said
                code = await asyncio.shield(ended)
            if code < 0:
                raise ChildDied(-code)
        finally:
            if folder is None:
                shutil.rmtree(path, ignore_errors=True)

    async def _running(self) -> "_Link":
        async with self._starting:
            if self._link is None or self._link.lost:
                if self._link:
                    await self._link.close()
                self._link = await _Link.start(self.module, self.work)
            link = self._link
        await asyncio.shield(link.ready)
        return link


class _Patience:
    """Waits for lines, as long as the limits allow."""

    def __init__(self, deadline_s: float, stall_s: float | None):
        self.left, self.stall_s = deadline_s, stall_s

    async def line(self, lines: Lines) -> bytes:
        """The next whole line; empty at the end. Raises ChildTimeout."""
        loop = asyncio.get_running_loop()
        since, stalls_first = loop.time(), self.stall_s is not None and self.stall_s < self.left
        try:
            async with asyncio.timeout(self.stall_s if stalls_first else self.left):
                line = await lines.line()
        except TimeoutError:
            why = f"silent for {self.stall_s:g} s" if stalls_first else "past its deadline"
            raise ChildTimeout(f"the child was {why}") from None
        self.left -= loop.time() - since
        return line


class _Link:
    """The service's end of one zygote."""

    def __init__(self, process: asyncio.subprocess.Process, sock: socket.socket):
        loop = asyncio.get_running_loop()
        self.process, self.sock, self.lost = process, sock, False
        self.ready: asyncio.Future[None] = loop.create_future()
        self.codes: dict[int, asyncio.Future[int]] = {}
        """How each live job ended, by its number: the exit code, or minus a signal."""
        self.count = 0
        loop.add_reader(sock, self._receive)

    @classmethod
    async def start(cls, module: str, work: Path) -> "_Link":
        """A new zygote; it may still be importing."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(work),
            "TMPDIR": str(work),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        }
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "lodestream.zygote", module, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                env=environment,
                cwd=work,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the service alone
            )
        return cls(process, ours)

    @contextlib.asynccontextmanager
    async def fork(self, asked: dict[str, Any]) -> AsyncIterator[tuple[Lines, asyncio.Future[int]]]:
        """One job: what its child writes, and how it ends; at exit its whole group is killed and seen gone."""
        self.count += 1
        number, ended = self.count, asyncio.get_running_loop().create_future()
        with _pipe() as (lines, write):
            await self._send({"run": number, **asked}, [write.fileno()])
            write.close()
            self.codes[number] = ended
            if self.lost:
                ended.set_result(-signal.SIGKILL)
            try:
                yield lines, ended
            finally:
                try:
                    if not ended.done():
                        await self._send({"kill": number}, [])
                        await asyncio.shield(ended)
                finally:
                    del self.codes[number]

    async def close(self) -> None:
        """The zygote ends, with all its children, when it sees the socket closed."""
        self._lose()
        await self.process.wait()

    async def _send(self, asked: dict[str, Any], fds: list[int]) -> None:
        data = json.dumps(asked).encode()
        if len(data) > PACKET:
            raise ValueError(f"a job of {len(data)} bytes; {PACKET} at most")
        while not self.lost:
            try:
                socket.send_fds(self.sock, [data], fds)
                return
            except BlockingIOError:
                await asyncio.sleep(0.005)
            except ConnectionError:
                self._lose()

    def _receive(self) -> None:
        try:
            data = self.sock.recv(PACKET)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        said = json.loads(data) if data else {}
        if "gone" in said:
            if ended := self.codes.get(said["gone"]):
                ended.set_result(said["code"])
        elif "ready" in said:
            self.ready.set_result(None)
        elif "failed" in said:
            text = said["failed"].strip()
            self.ready.set_exception(ChildFailed("ImportError", text.rpartition("\n")[2], text))
        else:
            self._lose()

    def _lose(self) -> None:
        """The zygote is gone, and so are its children, by the kernel's hand."""
        if self.lost:
            return
        self.lost = True
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()
        if not self.ready.done():
            self.ready.set_exception(ChildDied(signal.SIGKILL))
        self.ready.exception()  # seen: perhaps nobody waits for it
        for code in self.codes.values():
            if not code.done():
                code.set_result(-signal.SIGKILL)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[Lines, BinaryIO]]:
    """The two ends of a pipe."""
    read, write = os.pipe()
    with os.fdopen(write, "wb", buffering=0) as writer, contextlib.closing(Lines(read)) as lines:
        yield lines, writer


def _name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
