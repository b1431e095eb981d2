"""The quack door: any DuckDB reads a copy of the tables, seconds old, through this port.

Nothing runs until somebody knocks. Then a child serves the copy; what is said goes through here, so that a request can
first have the copy made anew, and the child may be replaced.
"""

import asyncio
import contextlib
import socket
import sys
import time
from pathlib import Path

import msgspec
import structlog

from lodestream.errors import LodeError
from services.catalog.quack_child import Serve
from services.catalog.snapshots import Snapshots

log = structlog.get_logger()

HOST = "127.0.0.1"
SECONDS = 30.0
"""Time that a query may take; the child that runs a longer one is ended, and with it whatever else it does."""
IDLE = 300.0
"""Seconds without a request after which the child is ended."""
CLIENTS = 64
"""Connections at the same time."""
CHUNK = 64 << 10
READY = 20.0
"""Seconds that a child has to be ready."""


class Child:
    """One serving process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int):
        self.process, self.port = process, port
        self.shows: Path | None = None

    async def show(self, file: Path) -> None:
        """Have it serve this copy. Raises LodeError where it has ended."""
        if file != self.shows:
            await self.tell(str(file))
            self.shows = file

    async def tell(self, line: str, *, answers: bool = True) -> None:
        """Raises LodeError where it has ended, or does not answer."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(line.encode() + b"\n")
            await self.process.stdin.drain()
            async with asyncio.timeout(READY):
                if answers and not await self.process.stdout.readline():
                    raise LodeError("the process that serves DuckDB clients has ended; see: lode logs catalog")
        except (OSError, TimeoutError) as error:
            raise LodeError(f"the process that serves DuckDB clients does not answer: {error}") from None


class QuackDoor:
    """Listens; a child answers."""

    def __init__(self, snapshots: Snapshots, token: str):
        self._snapshots, self._token = snapshots, token
        self._child: Child | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._lock, self._clients, self._asked = asyncio.Lock(), asyncio.Semaphore(CLIENTS), 0.0
        self.uri = ""

    async def run(self, host: str, port: int, uri_file: Path) -> None:
        """Serve until cancelled, on another port where `port` is taken; `uri_file` says where, as seen from here."""
        try:
            server = await asyncio.start_server(self._client, host, port)
        except OSError:
            server = await asyncio.start_server(self._client, host, 0)
            log.warning("port taken", port=port, chosen=server.sockets[0].getsockname()[1])
        self.uri = f"quack:{HOST}:{server.sockets[0].getsockname()[1]}"
        uri_file.write_text(self.uri + "\n")
        try:
            async with server:
                while True:
                    await asyncio.sleep(IDLE / 5)
                    if time.monotonic() - self._asked > IDLE:
                        await self._end_child()
        finally:
            uri_file.unlink(missing_ok=True)
            for client in self._serving:
                client.cancel()
            await self._end_child()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        async with self._clients:
            try:
                child = await self._up_to_date()
                from_child, to_child = await asyncio.open_connection(HOST, child.port)
                asking = asyncio.create_task(self._ask(reader, to_child))
                try:
                    await _pipe(from_child, writer)
                finally:
                    asking.cancel()
                    to_child.close()
            except (OSError, LodeError) as error:
                log.warning("DuckDB client not served", why=str(error))
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, to_child: asyncio.StreamWriter) -> None:
        """Pass on what a client says, to a child that shows a fresh copy."""
        while chunk := await reader.read(CHUNK):
            await self._up_to_date()
            to_child.write(chunk)
            await to_child.drain()
        to_child.write_eof()

    async def _up_to_date(self) -> Child:
        """The child, started if there is none, showing a fresh copy."""
        self._asked = time.monotonic()
        async with self._lock:
            copy = await self._snapshots.fresh()
            if self._child is None or self._child.process.returncode is not None:
                self._child = await self._start(copy)
            await self._child.show(copy)
            return self._child

    async def _start(self, copy: Path) -> Child:
        command = (sys.executable, "-P", "-m", "services.catalog.quack_child")
        pipe = asyncio.subprocess.PIPE
        child = Child(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe), _free_port())
        serve = Serve(f"quack:{HOST}:{child.port}", self._token, str(copy.parent), SECONDS)
        await child.tell(msgspec.json.encode(serve).decode(), answers=False)
        return child

    async def _end_child(self) -> None:
        if self._child:
            child, self._child = self._child.process, None
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
