"""Reads lines from a pipe whose file descriptor has one owner.

The loop's own transport closes a pipe's descriptor and then has libuv close the same number again. In between a thread
may have opened a file under that number, and loses it: seen as "Bad file descriptor", "File exists", and aborts.
"""

import asyncio
import os

from lodestream.zygote import LINE

CHUNK = 65_536
"""Bytes read at once."""


class Lines:
    """The reading end of a pipe, which is closed with it."""

    def __init__(self, fd: int):
        os.set_blocking(fd, False)
        self._fd, self._buffer, self._searched, self._ended = fd, bytearray(), 0, False

    async def line(self) -> bytes:
        """The next line, its end included; empty at the end, where half a line is none.

        Reads no more than is asked for, so who writes waits. Raises ValueError for a line that is too long.
        """
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._ended:
                return b""
            if self._searched > LINE:
                raise ValueError(f"a line of more than {LINE} bytes")
            await self._read()
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def close(self) -> None:
        """Nothing more is read."""
        os.close(self._fd)

    async def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, CHUNK)
            except BlockingIOError:
                await self._readable()
            else:
                self._buffer += data
                self._ended = not data
                return

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._fd, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)


def _set(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
