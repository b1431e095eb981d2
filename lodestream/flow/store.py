"""Deployed flows in KV bucket `flows`: read with their revision, written only over the revision that was read."""

from typing import NamedTuple, NoReturn

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.flow import model
from lodestream.flow.model import Deployed
from lodestream.flows import deployed_flows
from lodestream.streams import API, PATIENCE
from proto import subjects

NOT_THE_LAST = 10071
"""JetStream's refusal of a publish that expected another last message on the subject."""


class Conflict(LodeError):
    """Somebody else changed the flow meanwhile."""


class Stored(NamedTuple):
    """A flow's record, None where it is not deployed, and the revision that a change must name (0: never written)."""

    record: Deployed | None
    revision: int
    removed: Deployed | None = None
    """The flow as it was before it was removed, `at` the time of that."""

    @property
    def version(self) -> str:
        """Another one after every change by a person; it stays while backfills come to their end."""
        return self.record.at if self.record else ""


class _Error(msgspec.Struct):
    description: str
    err_code: int = 0


class _Answer(msgspec.Struct):
    seq: int = 0
    error: _Error | None = None


async def load(nc: Client, flow: str) -> Stored:
    """The flow as deployed. Raises LodeError where the server does not answer or the record cannot be read."""
    found = await read(nc, flow)
    try:
        record = model.decode(found.data)
    except msgspec.MsgspecError as error:
        if not found.there:
            return Stored(None, found.revision)
        raise LodeError(f"the record of flow {flow} cannot be read ({error}); remove it: lode flow rm {flow}") from None
    if found.there:
        return Stored(record, found.revision)
    record.at = found.at
    return Stored(None, found.revision, record)


class Raw(NamedTuple):
    """What is stored for a flow."""

    there: bool
    """Whether the flow is deployed."""
    data: bytes = b""
    """Its record, or the one that it had when it was removed."""
    revision: int = 0
    at: str = ""
    """When that was written, ISO 8601."""


async def read(nc: Client, flow: str) -> Raw:
    """A flow's record as it is stored."""
    msg = await _request(nc, f"{API}.DIRECT.GET.KV_{subjects.FLOWS_BUCKET}.{subjects.flow_key(flow)}", b"")
    headers = msg.headers or {}
    if headers.get("Status") == "404":
        return Raw(False)
    there = not headers.get("KV-Operation")
    return Raw(there, msg.data, int(headers["Nats-Sequence"]), headers["Nats-Time-Stamp"])


async def load_deployed(nc: Client, flow: str) -> Deployed:
    """The flow as deployed. Raises LodeError where it is not."""
    return (await load(nc, flow)).record or await refuse(nc, flow)


async def refuse(nc: Client, flow: str) -> NoReturn:
    """Raises LodeError: there is no such flow, but these."""
    there = ", ".join(known.flow for known in await listing(nc))
    raise LodeError(f"no flow {flow!r} is deployed; {f'deployed: {there}' if there else 'none is'}")


async def listing(nc: Client) -> list[Deployed]:
    """Every deployed flow, by name."""
    try:
        found = await deployed_flows(Bus(nc))
    except TimeoutError:
        raise LodeError("the NATS server does not answer about flows; is the instance up? (lode status)") from None
    return [found[name] for name in sorted(found)]


async def save(nc: Client, record: Deployed, revision: int) -> int:
    """Write a record over `revision`; gives the new one. Raises Conflict where another is there by now."""
    return await _write(nc, record.flow, model.encode(record), {}, revision)


async def erase(nc: Client, flow: str, stored: Raw) -> int:
    """Mark a flow removed, in the way of every NATS client; the mark keeps the record. See `save`."""
    return await _write(nc, flow, stored.data, {"KV-Operation": "DEL"}, stored.revision)


async def _write(nc: Client, flow: str, data: bytes, headers: dict[str, str], revision: int) -> int:
    headers["Nats-Expected-Last-Subject-Sequence"] = str(revision)
    answer = msgspec.json.decode((await _request(nc, subjects.flow_key(flow), data, headers)).data, type=_Answer)
    if answer.error is None:
        return answer.seq
    if answer.error.err_code == NOT_THE_LAST:
        raise Conflict(
            f"flow {flow} was changed by somebody else meanwhile; look at `lode flow diff`, then deploy again"
        )
    raise LodeError(f"flow {flow} cannot be written: {answer.error.description}")


async def _request(nc: Client, subject: str, data: bytes, headers: dict[str, str] | None = None) -> Msg:
    try:
        return await nc.request(subject, data, timeout=PATIENCE, headers=headers)
    except (nats.errors.Error, TimeoutError) as error:
        what = "has no bucket of flows" if isinstance(error, nats.errors.NoRespondersError) else "does not answer"
        raise LodeError(f"the NATS server {what}; start the instance with: lode up") from None
