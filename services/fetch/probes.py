"""What downloaded files are, found out by children that are used again for as long as they behave."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from lodestream.children import ChildDied, Children, ChildTimeout, Limits
from lodestream.errors import Reject, Retry
from lodestream.web.verdicts import LASTING

FILES = 500
"""That one child looks at; what a decoder leaks goes with it."""
LIMITS = Limits(deadline_s=FILES * 30, cpu_s=3600, memory_bytes=1 << 30, file_bytes=0, stall_s=30)


class Facts(msgspec.Struct, frozen=True):
    """What a video file is."""

    container: str
    extension: str
    codec: str
    width: int
    height: int
    """Pixels as shown, rotation applied; so is width."""
    fps: float | None
    duration_s: float | None
    rotation: int
    damage: str


class Prober:
    """One child; it reads paths from a named pipe."""

    def __init__(self, answers: AsyncGenerator[dict[str, Any], None], inbox: int):
        self._answers, self._inbox, self.left = answers, inbox, FILES

    async def ask(self, path: Path) -> dict[str, Any]:
        """Its answer. Raises ChildDied, ChildTimeout, ChildFailed."""
        self.left -= 1
        os.write(self._inbox, f"{path}\n".encode())
        return await anext(self._answers)


class Probes:
    """As many children as processors; each is replaced when it crashed, hung or has done enough."""

    def __init__(self, children: Children, work: Path):
        self._children, self._work = children, work
        self._free: asyncio.Queue[_Place] = asyncio.Queue()

    @classmethod
    @asynccontextmanager
    async def open(cls, children: Children, work: Path) -> AsyncIterator["Probes"]:
        """Starts each child when it is first wanted."""
        probes = cls(children, work)
        places = [_Place() for _ in range(os.cpu_count() or 1)]
        for place in places:
            probes._free.put_nowait(place)
        try:
            yield probes
        finally:
            for place in places:
                await place.clear()

    async def facts(self, path: Path) -> Facts:
        """What the file is. Raises Reject where it is no video of use, Retry where somebody killed the child."""
        try:
            answer = await self._ask(path)
        except (ChildDied, ChildTimeout):  # perhaps not the file's fault: once more, by a fresh child
            try:
                answer = await self._ask(path)
            except (ChildDied, ChildTimeout) as error:
                if isinstance(error, ChildDied) and error.signal == signal.SIGKILL:
                    raise Retry("crashed", f"what reads the file was killed: {error}") from None
                raise Reject("fake", f"what reads it fails on it: {error}") from None
        if "no" in answer:
            reason, detail = answer["no"]
            raise Reject(reason, detail, lasting=reason in LASTING)
        return msgspec.convert(answer["facts"], Facts)

    async def _ask(self, path: Path) -> dict[str, Any]:
        place = await self._free.get()
        try:
            return await (await place.prober(self._children, self._work)).ask(path)
        except BaseException:
            await place.clear()
            raise
        finally:
            self._free.put_nowait(place)


class _Place:
    """For one child at a time."""

    def __init__(self) -> None:
        self._prober: Prober | None = None
        self._stack = AsyncExitStack()

    async def prober(self, children: Children, work: Path) -> Prober:
        if self._prober and not self._prober.left:
            await self.clear()
        if self._prober is None:
            self._prober = await self._stack.enter_async_context(_probing(children, work))
        return self._prober

    async def clear(self) -> None:
        self._prober = None
        await self._stack.aclose()


@asynccontextmanager
async def _probing(children: Children, work: Path) -> AsyncIterator[Prober]:
    with tempfile.TemporaryDirectory(prefix="probe-", dir=work) as folder:
        inbox = Path(folder) / "inbox"
        os.mkfifo(inbox)
        answers = children.run({"do": "probe", "inbox": str(inbox)}, limits=LIMITS, folder=Path(folder))
        ours = os.open(inbox, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield Prober(answers, ours)
        finally:
            os.close(ours)
            with contextlib.suppress(RuntimeError):  # at the end of all, while somebody still waits for an answer
                await answers.aclose()
