"""Runs a node on a stored message once more, without effect: nothing is published, remembered or stored."""

import shutil
import tempfile
import time
import traceback
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import structlog
from nats.js.errors import NotFoundError

from lodestream.bus import Bus, Delivery, connect
from lodestream.debug.beside import Beside, FarLeases
from lodestream.debug.onebyone import Alone
from lodestream.debug.overlay import Overlay
from lodestream.debug.screen import legible, say
from lodestream.debug.stored import Stored, find, takers
from lodestream.errors import LodeError
from lodestream.flow.model import DeployedNode
from lodestream.flows import deployed_flows
from lodestream.job import Parts
from lodestream.leases import NatsLeases
from lodestream.objects import open_objects
from lodestream.registry import node_types
from lodestream.runner import Runner
from proto import subjects
from proto.messages import Again

log = structlog.get_logger()


class Place(msgspec.Struct, frozen=True):
    """Where an instance is."""

    nats_url: str
    user: str
    password: str
    objects: str
    """URL of the object store."""
    triton: str = ""
    models: Path | None = None
    """See `lodestream.job.Parts`."""


@dataclass
class Heard:
    """In place of a `Publisher`: keeps what would be published."""

    said: dict[str, bytes] = field(default_factory=dict)
    waits_for: str = ""

    async def publish(self, subject: str, payload: bytes, headers: Any = None) -> bool:
        """Take note of it."""
        self.said[subject] = payload
        return True


class Replayed(Delivery):
    """A stored message as if it were delivered; nobody waits to have it answered."""

    def __init__(self, message: Stored):
        self.subject, self.data, self.seq, self.attempt = message.subject, message.data, message.seq, 1
        self.headers, self.reply, self.still_ours, self.touched = None, "", None, 0.0
        self._puller = Alone()  # type: ignore[assignment]

    async def ack(self) -> None:
        """Nobody waits for it."""


async def replay(place: Place, what: str, only: str, debugged: bool) -> int:
    """Run the nodes that take a message, or `only` one of them, and say what is other than it was; 1 where one fails.

    With `debugged` a debugger opens where one fails. Raises LodeError.
    """
    async with AsyncExitStack() as stack:
        beside = stack.enter_context(Beside())
        bus = await beside.call(connect(place.nats_url, place.user, place.password, name="lode replay", patience=5))
        stack.push_async_callback(lambda: beside.call(bus.close()))
        message = await beside.call(find(bus, what))
        chosen = await beside.call(_chosen(bus, message, only))
        leases = NatsLeases(bus)
        stack.push_async_callback(lambda: beside.call(leases.close()))
        folder = Path(tempfile.mkdtemp(prefix="lode-replay-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "work").mkdir()
        failed = 0
        for flow, name, node in chosen:
            objects = Overlay(open_objects(place.objects, folder), folder / name)
            far = FarLeases(beside, leases)
            parts = Parts(objects, far, folder / "work", log, triton=place.triton, models=place.models)
            failed += await _one(beside, bus, message, flow, name, node, parts, debugged)
        return 1 if failed else 0


async def _chosen(bus: Bus, message: Stored, only: str) -> list[tuple[str, str, DeployedNode]]:
    """The nodes to run. Raises LodeError where there is none."""
    try:
        recipe = msgspec.json.decode(message.data, type=_Recipe).recipe
    except msgspec.MsgspecError:
        recipe = ""
    subject = message._replace(subject=_again(message).subject) if f".{subjects.AGAIN}." in message.subject else message
    there = takers(await deployed_flows(bus), subject, recipe)
    chosen = [taker for taker in there if only in ("", taker[1])]
    if not chosen:
        names = ", ".join(name for _, name, _ in there) or "none"
        raise LodeError(
            f"no deployed node{f' {only!r}' if only else ''} takes {message.subject}; those that do: {names}"
        )
    return chosen


class _Recipe(msgspec.Struct):
    recipe: str = ""


def _again(message: Stored) -> Again:
    return msgspec.json.decode(message.data, type=Again)


async def _one(
    beside: Beside, bus: Bus, message: Stored, flow: str, name: str, node: DeployedNode, parts: Parts, debugged: bool
) -> bool:
    """Run one node; whether it failed."""
    declaration = replace(node_types()[node.type], memo=False)
    settings, heard = declaration.read_settings(node.settings), Heard()
    say(f"{name} of flow {flow} ({node.type}): {message.subject}, message {message.seq} of {message.stream}")
    started = time.perf_counter()
    try:
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(declaration.open(parts)) if declaration.open else None
            runner = Replaying(flow, name, declaration, settings, parts, state, heard, _work, _stands, node.recipes)  # type: ignore[arg-type]
            await runner.once(Replayed(message))
    except Exception as error:
        say("".join(traceback.format_exception(error)) + f"  failed after {time.perf_counter() - started:.2f} s")
        if debugged:
            import pdb

            pdb.post_mortem(error.__traceback__)
        return True
    for subject, payload in heard.said.items():
        await _compare(beside, bus, subject, payload)
    stored = await parts.objects.written()  # type: ignore[attr-defined]
    size, took = sum(stat.size for stat in stored), time.perf_counter() - started
    say(f"  {len(heard.said)} outputs and {len(stored)} objects ({size:,} bytes) in {took:.2f} s")
    say("  nothing was published or stored")
    return False


class Replaying(Runner):
    """A runner that lets every failure out."""

    async def once(self, delivery: Delivery) -> None:
        """Work on one message. Raises what goes wrong."""
        item = self._read(delivery)
        await self._make(item, delivery)


async def _work(subject: str, recipe: str, seq: int) -> Any:
    return "work"


async def _stands() -> bool:
    return True


async def _compare(beside: Beside, bus: Bus, subject: str, payload: bytes) -> None:
    """Say of one output whether it is what was published then."""
    made = msgspec.json.decode(payload, type=_Digest)
    then = await beside.call(_stored(bus, subject))
    what = "new" if then is None else "same" if then == made.digest else "different"
    say(f"  {what}: {subject}")
    if what != "same":
        say(legible(msgspec.json.decode(payload)))


class _Digest(msgspec.Struct):
    digest: str = ""


async def _stored(bus: Bus, subject: str) -> str | None:
    """The digest of what is stored on a subject; None where nothing is."""
    stream = subjects.DEAD if subject.startswith("dead.") else subjects.stream(subjects.parse(subject).flow)
    try:
        found = await bus.nc.jetstream(timeout=10).get_last_msg(stream, subject)
    except NotFoundError:
        return None
    return msgspec.json.decode(found.data or b"{}", type=_Digest).digest
