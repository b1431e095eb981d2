"""Holds the Docker socket and does one thing with it: gives a service of its own project another number of containers.

`python -m services.scaler.hands`, in a container without a network. Which services, and how many of each, it is told
once, by its environment; what asks on the Unix socket can choose no more than that.
"""

import asyncio
import os
import socket
import sys
from collections import defaultdict
from pathlib import Path

import msgspec

from lodestream.errors import LodeError
from lodestream.scaling.policy import read_limits
from services.scaler.containers import Containers, engine, project_of
from services.scaler.wire import LONGEST_LINE, SCALE, SOCKET, Answer, Wish

PATIENCE = 10.0
"""Seconds that somebody who connects has to say what is wanted."""
FOR_GROUP = 0o117
"""Mask of the socket's mode: for this user and this group."""


class Door:
    """Answers one line for each connection; wishes for one service are done one after the other."""

    def __init__(self, containers: Containers):
        self._containers = containers
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def serve(self, path: Path) -> None:
        """Listen at `path` until cancelled."""
        path.unlink(missing_ok=True)
        before = os.umask(FOR_GROUP)
        server = await asyncio.start_unix_server(self._connected, str(path), limit=LONGEST_LINE)
        os.umask(before)
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                line = await reader.readline()
            answer = Answer(replicas=await self._do(msgspec.json.decode(line, type=Wish)))
        except LodeError as error:
            answer = Answer(error=str(error))
        except (ValueError, TimeoutError, OSError) as error:
            answer = Answer(error=f"not understood: {error or 'nothing was said'}")
        writer.write(msgspec.json.encode(answer) + b"\n")
        writer.close()

    async def _do(self, wish: Wish) -> dict[str, int]:
        if wish != Wish():
            async with self._turns[wish.service]:
                await asyncio.to_thread(self._containers.scale, wish.service, wish.replicas)
        return await asyncio.to_thread(self._containers.counts)


def main() -> None:
    """Entry point; a person's mistake is one line and status 1."""
    try:
        limits = read_limits(os.environ.get(SCALE, ""))
        client = engine()
        asyncio.run(Door(Containers(client, project_of(client, socket.gethostname()), limits)).serve(SOCKET))
    except LodeError as error:
        sys.exit(f"hands: {error}")


if __name__ == "__main__":
    main()
