"""The scaler's side of the socket: asks the hands."""

import asyncio
from pathlib import Path

import msgspec

from lodestream.errors import LodeError
from services.scaler.wire import LONGEST_LINE, SOCKET, Answer, Wish

PATIENCE = 120.0
"""Seconds that an answer may take: a container that is told to stop has some of them."""


class Asked:
    """Hands behind a Unix socket."""

    def __init__(self, path: Path = SOCKET):
        self._path = path

    async def counts(self) -> dict[str, int]:
        """See Hands."""
        return await self._ask(Wish())

    async def scale(self, service: str, workers: int) -> None:
        """See Hands."""
        await self._ask(Wish(service, workers))

    async def _ask(self, wish: Wish) -> dict[str, int]:
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=LONGEST_LINE)
                try:
                    writer.write(msgspec.json.encode(wish) + b"\n")
                    answer = msgspec.json.decode(await reader.readline(), type=Answer)
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError) as error:
            why = f"the hands do not answer at {self._path} ({error or 'timed out'})"
            raise LodeError(f"{why}; see: docker compose logs hands") from None
        if answer.error:
            raise LodeError(answer.error)
        return answer.replicas
