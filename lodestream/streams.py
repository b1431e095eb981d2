"""The streams that every instance has, made and kept as they must be."""

import json
from datetime import datetime
from typing import Any

import nats.errors
from nats.aio.client import Client

from lodestream.errors import LodeError
from proto import subjects

SECOND = 1_000_000_000
"""Nanoseconds, which JetStream counts in."""
LEASE_TTL = 15 * SECOND
PATIENCE = 5.0
"""Seconds to wait for one answer."""
API = subjects.API

REPLICAS = 3
"""Servers that keep each stream of a cluster: one of them may be lost."""


class NoRoom(LodeError):
    """There is less room left than a stream may use: on the server, or on enough servers of a cluster."""


class NoCluster(LodeError):
    """The server is alone, and asked for replicas."""


_REFUSALS = {10047: NoRoom, 10023: NoRoom, 10005: NoRoom, 10074: NoCluster}
"""What JetStream's error codes mean: no storage, no resources, no suitable peers; replicas without a cluster."""


BASE: dict[str, Any] = {"storage": "file", "retention": "limits"}


def _bucket(name: str, **more: Any) -> dict[str, Any]:
    """A key-value bucket, as any NATS client knows one."""
    limits = {"max_msgs_per_subject": 1, "discard": "new", "allow_rollup_hdrs": True, "allow_direct": True}
    return {"name": f"KV_{name}", "subjects": [f"$KV.{name}.>"], **limits, **more}


STREAMS: tuple[dict[str, Any], ...] = (
    {"name": subjects.SEEDS, "subjects": [subjects.seeds(">")], "allow_direct": True},
    {
        "name": subjects.DEAD,
        "subjects": [subjects.dead("*", "*", "*", "*")],
        "max_msgs_per_subject": 1,
        "discard": "old",
        "allow_direct": True,
    },
    {"name": subjects.ADVISORIES, "subjects": list(subjects.ADVISORY_SUBJECTS), "max_msgs": 100_000, "discard": "old"},
    {
        "name": subjects.SCALING,
        "subjects": [subjects.scaling("*")],
        "max_msgs_per_subject": 20,
        "max_age": 3600 * SECOND,
        "discard": "old",
    },
    _bucket(subjects.FLOWS_BUCKET),
    _bucket(subjects.LEASES_BUCKET, max_age=LEASE_TTL, duplicate_window=LEASE_TTL),
)
UNCLAIMED = {
    "durable_name": subjects.UNCLAIMED,
    "name": subjects.UNCLAIMED,
    "filter_subject": subjects.seeds(">"),
    "ack_policy": "explicit",
    "deliver_policy": "all",
    "ack_wait": 30 * SECOND,
    "max_deliver": -1,
}


async def ensure_streams(nc: Client) -> None:
    """Make what is missing and put right what somebody changed. Raises LodeError where that is refused."""
    for config in STREAMS:
        await ensure_stream(nc, BASE | config)
    consumer = {"stream_name": subjects.SEEDS, "config": UNCLAIMED, "action": ""}
    await ask(nc, f"CONSUMER.CREATE.{subjects.SEEDS}.{subjects.UNCLAIMED}.{subjects.seeds('>')}", consumer)


async def ensure_stream(nc: Client, wanted: dict[str, Any]) -> None:
    """Make a stream, or change what of `wanted` (JetStream's own names) differs; its other settings are left alone.

    In a cluster at least REPLICAS servers keep it. Raises LodeError where the server refuses or keeps something else.
    """
    name = wanted["name"]
    found = await ask(nc, f"STREAM.INFO.{name}", {}, may_lack=True)
    if found and found.get("cluster", {}).get("name"):  # a server alone names itself as the leader of no cluster
        wanted = {"num_replicas": max(REPLICAS, found["config"]["num_replicas"])} | wanted
    if found is None:
        found = await _create(nc, wanted)
    elif _differences(found["config"], wanted):
        found = await ask(nc, f"STREAM.UPDATE.{name}", found["config"] | wanted)
    if wrong := _differences((found or {})["config"], wanted):
        raise LodeError(f"stream {name} is not as it must be: {', '.join(wrong)}")


async def _create(nc: Client, wanted: dict[str, Any]) -> dict[str, Any] | None:
    what = f"STREAM.CREATE.{wanted['name']}"
    try:
        return await ask(nc, what, {"num_replicas": REPLICAS} | wanted)
    except NoCluster:
        return await ask(nc, what, wanted)


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The fields that differ; the server leaves out what is false or empty."""
    return [field for field, value in wanted.items() if found.get(field, type(value)()) != value]


async def server_time(nc: Client) -> datetime:
    """What time it is by the server's clock, the one that all go by: ours may be off. Raises LodeError."""
    info = await ask(nc, f"STREAM.INFO.KV_{subjects.FLOWS_BUCKET}", {}) or {}
    return datetime.fromisoformat(info["ts"])


async def ask(nc: Client, what: str, body: dict[str, Any], *, may_lack: bool = False) -> dict[str, Any] | None:
    """One JetStream request; None for an absent stream where it `may_lack`. Raises LodeError, NoRoom for lack of it."""
    try:
        answer = json.loads((await nc.request(f"{API}.{what}", json.dumps(body).encode(), timeout=PATIENCE)).data)
    except nats.errors.Error as error:
        raise LodeError(f"JetStream does not answer to {what}: {error}") from None
    if problem := answer.get("error"):
        if may_lack and problem.get("code") == 404:
            return None
        refused = _REFUSALS.get(problem.get("err_code"), LodeError)
        raise refused(f"JetStream refuses {what}: {problem.get('description')}")
    return dict(answer)
