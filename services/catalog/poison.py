"""What killed its workers: the server says when a message was delivered too often, and a dead letter is made of it."""

import asyncio
from datetime import datetime

import msgspec
import nats.errors
import structlog
from nats.js.api import AckPolicy, ConsumerConfig, RawStreamMsg
from nats.js.errors import NotFoundError

from lodestream.bus import Bus, Delivery, Publisher, Puller
from lodestream.flows import deployed_flows
from lodestream.letters import complete, now, raw_id, readable
from proto import ids, subjects
from proto.messages import Again, DeadLetter, Resolved, encode

log = structlog.get_logger()

AGAIN_IN = 2.0
"""Seconds until another try while the server is away."""
PATIENCE = 5.0
"""Seconds for the server to answer."""


class Advisory(msgspec.Struct):
    """What the server says of a message that it gives up."""

    type: str
    timestamp: datetime
    stream: str
    consumer: str
    stream_seq: int
    deliveries: int = 0
    reason: str = ""


class Owner(msgspec.Struct):
    """The node whose consumer it was."""

    flow: str
    node_type: str
    node: str
    since: str
    """When that consumer was started, ISO 8601."""


async def bury_poison(bus: Bus) -> None:
    """Make dead letters of messages that were delivered too often; runs until cancelled."""
    config = ConsumerConfig(name=subjects.CATALOG, durable_name=subjects.CATALOG, ack_policy=AckPolicy.EXPLICIT)
    while True:
        try:
            await bus.nc.jetstream(timeout=PATIENCE).add_consumer(subjects.ADVISORIES, config)
            break
        except (nats.errors.Error, TimeoutError):
            await asyncio.sleep(AGAIN_IN)
    publisher = await Publisher(bus).start()
    undertaker = Undertaker(bus, publisher)
    puller = Puller(bus, subjects.next_message(subjects.ADVISORIES, subjects.CATALOG), undertaker.handle, window=16)
    try:
        await puller.start()
        await asyncio.get_running_loop().create_future()
    finally:
        await puller.stop()
        await publisher.stop()


class Undertaker:
    """Turns advisories into dead letters, each once."""

    def __init__(self, bus: Bus, publisher: Publisher):
        self._bus, self._publisher = bus, publisher

    async def handle(self, delivery: Delivery) -> None:
        """Bury what one advisory tells of."""
        try:
            await self._bury(msgspec.json.decode(delivery.data, type=Advisory))
        except msgspec.MsgspecError as error:
            log.warning("advisory unreadable", error=str(error))
        except (nats.errors.Error, TimeoutError):
            await delivery.nak(AGAIN_IN)
            return
        await delivery.ack()

    async def _bury(self, advisory: Advisory) -> None:
        js = self._bus.nc.jetstream(timeout=PATIENCE)
        try:
            poison = await js.get_msg(advisory.stream, seq=advisory.stream_seq)
        except NotFoundError:
            return
        if owner := await self._owner(advisory):
            letter = complete(_letter(advisory, owner, poison), poison.headers)
            subject = subjects.dead(owner.flow, owner.node_type, owner.node, letter.entity)
            if not await self._is_known(subject, advisory, owner):
                dedup = f"{advisory.stream}-{advisory.consumer}-{advisory.stream_seq}-{owner.since}"
                await self._publisher.publish(subject, encode(letter), {"Nats-Msg-Id": dedup})
                log.warning("gave up a message", flow=owner.flow, node=owner.node, subject=poison.subject)

    async def _owner(self, advisory: Advisory) -> Owner | None:
        """None where it was no node's consumer."""
        for name, flow in (await deployed_flows(self._bus)).items():
            for consumer in flow.consumers():
                if (consumer.stream, consumer.durable) == (advisory.stream, advisory.consumer):
                    return Owner(name, flow.nodes[consumer.node].type, consumer.node, consumer.since)
        return None

    async def _is_known(self, subject: str, advisory: Advisory, owner: Owner) -> bool:
        """Whether its node or this service has buried it since that began, or somebody has retried or dropped it."""
        try:
            last = await self._bus.nc.jetstream(timeout=PATIENCE).get_msg(subjects.DEAD, subject=subject)
        except NotFoundError:
            return False
        try:
            said = msgspec.json.decode(last.data or b"", type=DeadLetter | Resolved)
        except msgspec.MsgspecError:
            return False
        if last.time is None or (isinstance(said, Resolved) and said.how == "succeeded"):
            return False
        if last.time > advisory.timestamp:
            return True
        if isinstance(said, Resolved):
            return False
        same = (said.input_stream, said.input_seq) == (advisory.stream, advisory.stream_seq)
        return same and last.time.isoformat(timespec="microseconds") > owner.since


def _letter(advisory: Advisory, owner: Owner, poison: RawStreamMsg) -> DeadLetter:
    subject, data = _input(poison.subject or "", poison.data or b"")
    entity = raw_id(data) if subjects.is_seed(subject) else subject.rpartition(".")[2]
    killed = f"delivered {advisory.deliveries} times, and no worker lived to answer"
    terminated = advisory.type.endswith("terminated")
    return DeadLetter(
        id=ids.token(entity),
        flow=owner.flow,
        node_type=owner.node_type,
        node=owner.node,
        entity=entity,
        reason="terminated" if terminated else "killed its workers",
        detail=advisory.reason or killed,
        at=now(),
        deliveries=advisory.deliveries,
        cause=subject,
        input_subject=subject,
        input_stream=advisory.stream,
        input_seq=advisory.stream_seq,
        **readable(data),
    )


def _input(subject: str, data: bytes) -> tuple[str, bytes]:
    """The message that was to be handled: for one that was offered again, what it holds."""
    if f".{subjects.AGAIN}." in subject:
        try:
            again = msgspec.json.decode(data, type=Again)
        except msgspec.MsgspecError:
            return subject, data
        return again.subject, bytes(again.input)
    return subject, data
