"""`lode seed --records`: publishes records, JSON a line, and says what became of each line."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from lodestream import records
from lodestream.errors import LodeError
from proto import ids, subjects

if TYPE_CHECKING:
    from lodestream.bus import Bus
    from lodestream.flow.model import Deployed

CHUNK, MOST = 128 << 10, 10_000
"""Bytes of lines that are published at once, and their number."""
LONGEST = 240 << 10
"""Bytes of one line as it is published: what intake takes in one message, less what stands around it."""
QUIET_S = 0.5
"""Seconds without another line, after which those that are there are published."""
SHOWN = 5
"""Lines that are named of those that are no records."""
REMEMBERED = 1_000_000
"""Records of this run that are known again before the flow has them."""


@dataclass
class Told:
    """What became of the lines so far."""

    stored: int = 0
    known: int = 0
    bad: list[str] = field(default_factory=list)
    """The first of those that are no records, in words."""
    malformed: int = 0

    def refuse(self, number: int, why: str) -> None:
        """A line is no record."""
        self.malformed += 1
        if len(self.bad) < SHOWN:
            self.bad.append(f"line {number}: {why}")

    def summary(self) -> str:
        """All of it in one line."""
        new = "nothing new: " if self.known and not self.stored else ""
        return f"{new}{self.stored:,} stored, {self.known:,} known, {self.malformed:,} malformed"


class Lines:
    """Takes blocks of bytes apart."""

    def __init__(self) -> None:
        self._rest, self._number, self._skipping = b"", 0, False

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Number and text of each line that ends here, nothing being the end of all; None for one that is too long."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if not data:
            whole, self._rest = [self._rest], b""
        for line in whole:
            self._number += 1
            whole_line = line.removeprefix(b"\xef\xbb\xbf") if self._number == 1 else line
            yield self._number, None if self._skipping else whole_line.strip()
            self._skipping = False
        if len(self._rest) > LONGEST:
            self._rest, self._skipping = b"", True


@dataclass
class Collector:
    """A node that the lines are for."""

    type: str
    name: str
    port: str
    own: str
    """Where a record has its own id."""


class Sender:
    """Publishes lines for a flow, each that is new once; what it counts as stored the server has confirmed."""

    def __init__(self, bus: "Bus", flow: "Deployed", value: str):
        """`value` names the lines: an absolute path. Raises LodeError where no node of the flow collects records."""
        self._js, self._flow, self._value = bus.nc.jetstream(), flow.flow, value
        self._collectors = collectors(flow)
        self.told = Told()
        self._first, self._chunk, self._size = 1, [""], 0
        self._seen: set[int] = set()

    async def add(self, number: int, line: bytes | None) -> None:
        """Take one line; publishes those before it where they are enough."""
        if not (text := self._checked(number, line)):
            return
        size = len(_quoted(text))
        if self._size + size > CHUNK or number - self._first >= MOST:
            await self.flush()
        if not self._size:
            self._first, self._chunk = number, []
        self._chunk += [""] * (number - self._first - len(self._chunk)) + [text]
        self._size += size

    async def flush(self) -> None:
        """Publish what there is, but for what the flow knows."""
        if not self._size:
            return
        new = await asyncio.gather(*(self._is_new(line) for line in self._chunk))
        chunk = [line if wanted else "" for line, wanted in zip(self._chunk, new, strict=True)]
        self._size = 0
        if count := sum(map(bool, chunk)):
            payload = _payload(self._value, self._first, chunk)
            ack = await self._js.publish(
                subjects.seeds(self._flow), payload, headers={"Nats-Msg-Id": ids.digest(payload)}
            )
            self.told.known += count if ack.duplicate else 0
            self.told.stored += 0 if ack.duplicate else count

    def _checked(self, number: int, line: bytes | None) -> str:
        """The line as it is sent; nothing where it is blank, or no record."""
        try:
            if line is None:
                raise records.NoRecord("too long")
            text = records.compact(line).decode() if line else ""
            if len(_quoted(text)) > LONGEST:
                raise records.NoRecord(f"over {LONGEST >> 10} KiB: seed the path of the file instead")
        except records.NoRecord as why:
            self.told.refuse(number, str(why))
            return ""
        return text

    async def _is_new(self, line: str) -> bool:
        if not line:
            return False
        names = [records.identity(line.encode(), records.scope(self._value), c.own) for c in self._collectors]
        mark = hash(tuple(names))
        known = mark in self._seen
        if len(self._seen) < REMEMBERED:
            self._seen.add(mark)
        if not known:
            known = all(await asyncio.gather(*map(self._has, self._collectors, names)))
        self.told.known += known
        return not known

    async def _has(self, collector: Collector, ident: str) -> bool:
        from nats.js.errors import NotFoundError

        subject = subjects.output(self._flow, collector.type, collector.name, collector.port, ident)
        try:
            await self._js.get_last_msg(subjects.stream(self._flow), subject, direct=True)
        except NotFoundError:
            return False
        return True


async def send(sender: Sender, file: BinaryIO) -> None:
    """Publish every line of a file or a pipe, soon after it came."""
    lines = Lines()
    async for data in _blocks(file):
        if data is None:
            await sender.flush()
            continue
        for number, line in lines.feed(data):
            await sender.add(number, line)
    await sender.flush()


async def _blocks(file: BinaryIO) -> AsyncIterator[bytes | None]:
    """What comes, as it comes, and nothing at the end; None where nothing comes for a while."""
    queue: asyncio.Queue[bytes] = asyncio.Queue(4)
    loop = asyncio.get_running_loop()
    raw = getattr(file, "raw", file)  # its buffer has a lock, which Python wants at its end

    def read() -> None:
        try:
            while data := raw.read(1 << 16):
                asyncio.run_coroutine_threadsafe(queue.put(data), loop).result()
            asyncio.run_coroutine_threadsafe(queue.put(b""), loop).result()
        except (CancelledError, RuntimeError):
            pass  # nobody listens any more

    threading.Thread(target=read, daemon=True).start()  # a pipe that stays silent keeps nobody from leaving
    while True:
        try:
            async with asyncio.timeout(QUIET_S):
                data = await queue.get()
        except TimeoutError:
            yield None
            data = await queue.get()
        yield data
        if not data:
            return


def collectors(flow: "Deployed") -> list[Collector]:
    """The nodes of a flow that collect records. Raises LodeError where there is none."""
    if found := list(_collectors(flow)):
        return found
    add = "add one, fed by the node that takes seeds, such as: lines: {type: records, from: seeds}"
    raise LodeError(f"no node of flow {flow.flow} collects records; {add}")


def _collectors(flow: "Deployed") -> Iterator[Collector]:
    from lodestream.registry import node_types
    from proto.messages import Record

    for name, node in flow.nodes.items():
        declaration = node_types().get(node.type)
        for port, given in declaration.gives.items() if declaration else ():
            if given is Record and declaration:
                own = getattr(declaration.read_settings(node.settings), "id", "")
                yield Collector(node.type, name, port, own)


def _payload(value: str, first: int, lines: list[str]) -> bytes:
    front = json.dumps({"kind": "records", "value": value, "first": first})[:-1]
    return f'{front}, "lines": {_quoted(chr(10).join(lines))}}}'.encode()


def _quoted(text: str) -> str:
    """A JSON string without a letter that a seed may not have."""
    return json.dumps(text).replace("\x7f", "\\u007f")
