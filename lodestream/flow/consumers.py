"""Makes the consumers of a flow what its record says: level, not edge, so that doing it again mends what was cut short.

Which start of a consumer it is stands in its metadata: a durable that has another `since` than the record is deleted
and made again. It may give everything again then: identities refuse a second output, and the memo saves the work.
"""

from collections.abc import Container, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from nats.aio.client import Client

from lodestream.flow.model import Consumer, Deployed
from lodestream.flow.record import rests
from lodestream.rights import deliveries
from lodestream.streams import SECOND, ask, server_time
from proto import subjects

NODE, SINCE, UNTIL = "lode.node", "lode.since", "lode.until"
"""Metadata of a consumer: its node, its start, and for a backfill the last sequence that it is for."""
SETTINGS: dict[str, Any] = {
    "ack_policy": "explicit",
    "ack_wait": 30 * SECOND,
    "max_ack_pending": 20_000,
}
HELD = "2200-01-01T00:00:00Z"
"""Until when the consumer of a paused node is: its `pause_until` tells it from one that rests."""
COUNTING: dict[str, Any] = {"ack_policy": "none", "mem_storage": True, "inactive_threshold": 5 * SECOND}
"""A consumer that is only asked how much it would give."""

Info = dict[str, Any]
"""A consumer as JetStream describes it."""


class Done(NamedTuple):
    """What was done to one consumer."""

    durable: str
    what: str
    node: str = ""
    rest: float = 0.0
    """Seconds before it gives anything."""

    def __str__(self) -> str:
        """`get-1: made (frames)`"""
        return f"{self.durable}: {self.what}" + (f" ({self.node})" if self.node else "")


async def reconcile(nc: Client, record: Deployed) -> list[Done]:
    """Make the flow's consumers what the record says; gives what was done.

    Filters first: what comes on a new wire from then on reaches the node by itself, and a backfill made afterwards
    brings the rest. Raises LodeError where the server refuses.
    """
    wanted = {(c.stream, c.durable): c for c in record.consumers()}
    found = await infos(nc, record.flow, {durable for _, durable in wanted})
    done = []
    for key, consumer in wanted.items():
        if key in found and _since(found[key]) == consumer.since and _rewire(found[key], consumer):
            await _update(nc, found[key], consumer)
            done.append(Done(consumer.durable, "filters changed", consumer.node))
    for key, consumer in wanted.items():
        if key in found and _since(found[key]) == consumer.since and _held(found[key]) != consumer.paused:
            done.append(await _hold(nc, consumer, record.freed.get(consumer.durable, "")))
    stale = [key for key, info in found.items() if key not in wanted or _since(info) != wanted[key].since]
    for key in stale:
        await delete(nc, *key)
        done.append(Done(key[1], "deleted"))
    for key, consumer in wanted.items():
        if key not in found or key in stale:
            rest = await _create(nc, consumer, record.freed.get(consumer.durable, ""))
            done.append(Done(consumer.durable, "made", consumer.node, rest))
    return done


async def delete_all(nc: Client, flow: str) -> list[Done]:
    """Delete every consumer of a flow."""
    found = await infos(nc, flow)
    for key in found:
        await delete(nc, *key)
    return [Done(durable, "deleted") for _, durable in found]


async def delete(nc: Client, stream: str, durable: str) -> None:
    """Delete a consumer; one that is not there is no mistake."""
    await ask(nc, f"CONSUMER.DELETE.{stream}.{durable}", {}, may_lack=True)


async def begin_again(nc: Client, consumer: Consumer, start: int) -> None:
    """Make a consumer anew, as the same one, from another sequence of its stream on."""
    await delete(nc, consumer.stream, consumer.durable)
    await _create(nc, consumer._replace(start=max(start, consumer.start)), "")


def reached(info: Info) -> tuple[str, int]:
    """Which start of a consumer it is, and the sequence of its stream up to which all was acked."""
    return _since(info), int(info["ack_floor"]["stream_seq"])


async def drained(nc: Client, backfill: Consumer) -> bool:
    """Whether a backfill has given all that it is for, and all of that was acked."""
    info = await ask(nc, f"CONSUMER.INFO.{backfill.stream}.{backfill.durable}", {}, may_lack=True)
    if info is None or _since(info) != backfill.since:
        return False
    if not info["num_pending"] and not info["num_ack_pending"]:
        return True
    return bool(info["ack_floor"]["stream_seq"] >= int(info["config"]["metadata"][UNTIL]))


async def count(nc: Client, wires: Iterable[str], flow: str) -> dict[str, int]:
    """The messages that are stored now for each subject filter of a flow."""
    stream = subjects.stream(flow)
    return {wire: await stored(nc, subjects.SEEDS if subjects.is_seed(wire) else stream, wire) for wire in wires}


async def stored(nc: Client, stream: str, filter: str) -> int:
    """The messages that a stream has now for one subject filter."""
    name = f"lode-count-{nc.new_inbox().rpartition('.')[2]}"
    config = COUNTING | {"name": name, "filter_subject": filter}
    body = {"stream_name": stream, "config": config}
    info = await ask(nc, f"CONSUMER.CREATE.{stream}.{name}.{filter}", body, may_lack=True)
    await delete(nc, stream, name)
    return info["num_pending"] if info else 0


async def last_sequence(nc: Client, stream: str) -> int:
    """The last sequence of a stream; 0 where there is none."""
    info = await ask(nc, f"STREAM.INFO.{stream}", {}, may_lack=True)
    return int(info["state"]["last_seq"]) if info else 0


async def infos(nc: Client, flow: str, names: Container[str] = ()) -> dict[tuple[str, str], Info]:
    """The flow's consumers: on its stream those that a deploy has made or wants to name so, and that of its seeds."""
    stream = subjects.stream(flow)
    listed: list[Info] = []
    while page := await ask(nc, f"CONSUMER.LIST.{stream}", {"offset": len(listed)}, may_lack=True):
        listed += page["consumers"] or []
        if len(listed) >= page["total"]:
            break
    found = {(stream, info["name"]): info for info in listed if NODE in _metadata(info) or info["name"] in names}
    if seeds := await ask(nc, f"CONSUMER.INFO.{subjects.SEEDS}.{flow}", {}, may_lack=True):
        found[subjects.SEEDS, flow] = seeds
    return found


def _metadata(info: Info) -> dict[str, str]:
    return info["config"].get("metadata") or {}


def _since(info: Info) -> str:
    return _metadata(info).get(SINCE, "")


def _rewire(info: Info, consumer: Consumer) -> bool:
    config = info["config"]
    now = config.get("filter_subjects") or [config.get("filter_subject", "")]
    return set(now) != set(consumer.filters)


async def _update(nc: Client, info: Info, consumer: Consumer) -> None:
    """Change the filters and leave all else as it is."""
    config = {k: v for k, v in info["config"].items() if k != "filter_subject"} | _filters(consumer)
    await _put(nc, consumer, config, "update")


async def _create(nc: Client, consumer: Consumer, freed: str) -> float:
    """Make a consumer; one whose durable was given up at `freed` is paused until workers know. Gives those seconds."""
    metadata = {NODE: consumer.node, SINCE: consumer.since}
    if consumer.temporary:
        metadata[UNTIL] = str(await last_sequence(nc, consumer.stream))
    names = {"name": consumer.durable, "durable_name": consumer.durable, "metadata": metadata}
    most = {"max_deliver": deliveries(consumer.durable.rpartition("-")[0])}
    config = SETTINGS | most | names | _filters(consumer) | _start(consumer)
    now = await server_time(nc)
    rest = _rest(freed, now)
    if rest or consumer.paused:
        config["pause_until"] = _until(consumer, now + rest)
    await _put(nc, consumer, config, "create")
    return rest.total_seconds()


def _held(info: Info) -> bool:
    return info["config"].get("pause_until", "") == HELD


async def _hold(nc: Client, consumer: Consumer, freed: str) -> Done:
    """Pause a consumer, or let it go on when it has rested: from the answer on it gives nothing, or everything."""
    now = await server_time(nc)
    body = {"pause_until": _until(consumer, now + _rest(freed, now))}
    await ask(nc, f"CONSUMER.PAUSE.{consumer.stream}.{consumer.durable}", body)
    return Done(consumer.durable, "paused" if consumer.paused else "resumed", consumer.node)


def _rest(freed: str, now: datetime) -> timedelta:
    return max(rests(freed, now.isoformat()), timedelta(0)) if freed else timedelta(0)


def _until(consumer: Consumer, rested: datetime) -> str:
    return HELD if consumer.paused else rested.isoformat().replace("+00:00", "Z")


def _start(consumer: Consumer) -> dict[str, Any]:
    if consumer.start == 1:
        return {"deliver_policy": "all"}
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": consumer.start}


def _filters(consumer: Consumer) -> dict[str, Any]:
    """Never an empty list: that would be everything."""
    if not consumer.filters:
        raise ValueError(f"{consumer.durable} has no filters")
    return {"filter_subjects": list(consumer.filters)}


async def _put(nc: Client, consumer: Consumer, config: dict[str, Any], action: str) -> None:
    body = {"stream_name": consumer.stream, "config": config, "action": action}
    await ask(nc, f"CONSUMER.CREATE.{consumer.stream}.{consumer.durable}", body)
