"""Who may do what on NATS: one user per node type, the catalog, the operator, and people in an account of their own.

A NATS wildcard is a whole token, so rights are given by type: outputs name their type, durables are `<type>-<slot>`.
Nothing changes here when flows do. No user has direct get on a stream that it may write: an answer goes to whatever
subject the asker names, so it could store content of its choice there. People's answers cannot leave their account.
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lodestream.errors import DELIVERIES, DELIVERIES_OF_WAITERS
from lodestream.node import Node
from proto import subjects

CATALOG = "catalog"
SCALER = "scaler"
OPERATOR = "operator"
SEEDER = "seeder"
VIEWER = "viewer"
LEASES = {"fetch": ("media", "host"), "records": ("records",), "filter": ("embed",), "dedup": ("embed", "dedup")}
"""Node types that take leases, and of which kinds."""
WAITERS = ("fetch", "records", "dedup")
"""Those whose messages may wait for a lease or a host for long."""

API = subjects.API
READ_FLOWS = [f"{API}.DIRECT.GET.KV_{subjects.FLOWS_BUCKET}{key}" for key in ("", "." + subjects.flow_key("*"))]
SEEDS = subjects.seeds(">")


def deliveries(node_type: str) -> int:
    """How often a message is delivered to a node of this type at most."""
    return DELIVERIES_OF_WAITERS if node_type in WAITERS else DELIVERIES


class Rights(NamedTuple):
    """What one user may publish and subscribe to, its own inbox aside, and how often it may answer one request."""

    publish: list[str]
    subscribe: list[str]
    answers: int = 0


def users(types: Iterable[str]) -> list[str]:
    """Every user of a server for these node types."""
    return [*types, CATALOG, SCALER, OPERATOR, SEEDER, VIEWER]


def services(types: Mapping[str, Node]) -> dict[str, Rights]:
    """The users of the account that holds the streams."""
    workers = {name: _worker(node) for name, node in types.items()}
    return workers | {CATALOG: _catalog(), SCALER: _scaler(), OPERATOR: Rights([">"], [">"])}


def people() -> dict[str, Rights]:
    """The users of the account that only publishes seeds and looks on."""
    return {SEEDER: Rights([SEEDS], []), VIEWER: Rights([], [subjects.EVERY_OUTPUT, subjects.EVERY_PROGRESS])}


def _worker(node: Node) -> Rights:
    """A worker of one type, for every flow: it creates nothing and reads nothing but its own inputs and the flows."""
    kind = node.type
    publish = [subjects.output("*", kind, "*", "*", "*"), subjects.dead("*", kind, "*", "*")]
    publish += [subjects.progress("*", kind, "*"), *READ_FLOWS]
    for slot in range(1, subjects.SLOTS + 1):
        publish += _consume("*", subjects.durable(kind, slot))
    if not node.takes:
        publish += _consume(subjects.SEEDS, "*")
    if kind in LEASES:
        publish += [subjects.lease(what, "*") for what in LEASES[kind]]
        publish += [f"{API}.STREAM.MSG.DELETE.KV_{subjects.LEASES_BUCKET}"]
    return Rights(publish, [subjects.flow_key("*"), subjects.TOMBSTONES, *_service(kind)], answers=1)


def _catalog() -> Rights:
    """Reads every stream through a consumer of its own name, follows lineage, answers queries in parts."""
    own = [f"{API}.CONSUMER.{verb}" for verb in (f"CREATE.*.{CATALOG}", f"CREATE.*.{CATALOG}.>", f"DELETE.*.{CATALOG}")]
    reads = [f"{API}.STREAM.NAMES", f"{API}.STREAM.MSG.GET.*", f"{API}.STREAM.INFO.*", *READ_FLOWS]
    publish = [*_consume("*", CATALOG), *own, *reads, subjects.dead("*", "*", "*", "*")]
    return Rights(publish, [subjects.flow_key("*"), f"{CATALOG}.>", *_service(CATALOG)], answers=100_000)


def _scaler() -> Rights:
    """Sees how much waits at every consumer, and tells what it decides; it reads no message."""
    return Rights([f"{API}.STREAM.NAMES", f"{API}.CONSUMER.LIST.*", subjects.scaling("*")], [])


def _consume(stream: str, durable: str) -> list[str]:
    """Pulling from one consumer and acking, in both ack formats, the second pinned to the empty domain `_`.

    A loose domain would let a user ask for more on another's acks, and so take its messages.
    """
    return [
        subjects.next_message(stream, durable),
        f"{API}.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.ACK.{stream}.{durable}.>",
        f"$JS.ACK._.*.{stream}.{durable}.>",
    ]


def _service(name: str) -> list[str]:
    """What the NATS services protocol asks one service; it may answer, but not ask."""
    return [f"$SRV.{verb}{who}" for verb in ("PING", "INFO", "STATS") for who in ("", f".{name}", f".{name}.*")]


def accounts(types: Mapping[str, Node], passwords: Mapping[str, str]) -> str:
    """The `accounts` block of a server's configuration; `passwords` has one for each of `users`."""
    shared = [("service", SEEDS), ("stream", subjects.EVERY_OUTPUT), ("stream", subjects.EVERY_PROGRESS)]
    exports = ", ".join(f'{{{kind}: "{subject}", accounts: [PEOPLE]}}' for kind, subject in shared)
    imports = ", ".join(f'{{{kind}: {{account: LODE, subject: "{subject}"}}}}' for kind, subject in shared)
    inside = _users(services(types), passwords)
    outside = _users(people(), passwords)
    return f"""accounts {{
  LODE {{
    jetstream: enabled
    exports: [{exports}]
    users: [
{inside}
    ]
  }}
  PEOPLE {{
    imports: [{imports}]
    users: [
{outside}
    ]
  }}
}}
"""


def _users(users: Mapping[str, Rights], passwords: Mapping[str, str]) -> str:
    return "\n".join(f"      {_user(name, passwords[name], rights)}" for name, rights in users.items())


def _user(name: str, password: str, rights: Rights) -> str:
    """One user. An empty allow list would allow everything, so it is written as a refusal of everything."""
    publish = f"allow: {json.dumps(rights.publish)}" if rights.publish else 'deny: [">"]'
    subscribe = json.dumps([f"_INBOX_{name}.>", *rights.subscribe])
    answers = f', allow_responses: {{max: {rights.answers}, expires: "5m"}}' if rights.answers else ""
    permissions = f"{{publish: {{{publish}}}, subscribe: {{allow: {subscribe}}}{answers}}}"
    return f'{{user: "{name}", password: "{password}", permissions: {permissions}}}'
