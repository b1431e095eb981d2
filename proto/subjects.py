"""Every subject, stream, consumer and bucket name. Nothing else spells one out.

`flow.<flow>.<type>.<node>.<port>.<entity>`: the type is a token of its own because a NATS wildcard is a whole token and
rights are given by type; a durable is `<type>-<slot>` for the same reason.
"""

from typing import NamedTuple

API = "$JS.API"
"""Where JetStream is asked for everything."""
SEEDS = "SEEDS"
DEAD = "DEAD"
ADVISORIES = "ADVISORIES"
SCALING = "SCALING"
HOUSE, FLOORS = "HOUSE", "house.floors"
"""What the house of a stack in containers notes, and where."""
FLOWS_BUCKET = "flows"
LEASES_BUCKET = "leases"
SLOTS = 16
"""Consumers of one node type in one flow, temporary backfill consumers included."""

UNCLAIMED = "_unclaimed"
"""The consumer that sees every seed, for those whose flow is not deployed."""

REJECTED = "rejected"
"""The port on which every node says its honest no."""
EMPTY = "empty"
"""The port for what a node looked at and left nothing of; wired where a flow names it."""
AGAIN = "again"
"""The port on which a dead letter's input is offered to its node once more."""

ADVISORY_SUBJECTS = ("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")

INTAKE = "intake"
"""The node type that takes what people publish: its consumers are those of SEEDS, one for each flow."""
CATALOG = "catalog"
"""The catalog's service, its user, and its consumer on every stream that it keeps a picture of."""
CATALOG_SQL = "catalog.sql"
"""Where a query is asked: one SELECT, bare or in JSON."""
CATALOG_STATUS = "catalog.status"
CATALOG_SNAPSHOT = "catalog.admin.snapshot"
CATALOG_REBUILD = "catalog.admin.rebuild"

OPERATOR = "operator"
"""Who may do everything; stands in place of a node type where no node may publish."""
TOMBSTONES = "tombstones.changed"
"""Where workers are told that something was forgotten, or may come back."""

EVERY_OUTPUT = "flow.>"
EVERY_PROGRESS = "progress.>"


class Address(NamedTuple):
    """The parts of an output's subject."""

    flow: str
    type: str
    node: str
    port: str
    entity: str


def output(flow: str, node_type: str, node: str, port: str, entity: str) -> str:
    """The subject of one output: stored once, for ever."""
    return f"flow.{flow}.{node_type}.{node}.{port}.{entity}"


def parse(subject: str) -> Address:
    """The parts of an output's subject. Raises ValueError where it is none."""
    parts = subject.split(".")
    if len(parts) != 6 or parts[0] != "flow":
        raise ValueError(f"not the subject of an output: {subject}")
    return Address(*parts[1:])


def wire(flow: str, node_type: str, node: str, port: str) -> str:
    """The filter of one wire: everything that one port gives."""
    return f"flow.{flow}.{node_type}.{node}.{port}.*"


def everything(flow: str) -> str:
    """The subjects of a flow's stream."""
    return f"flow.{flow}.>"


def stream(flow: str) -> str:
    """The stream that keeps a flow's outputs."""
    return f"FLOW_{flow}"


def flow_of(stream_name: str) -> str:
    """The flow whose stream this is."""
    return stream_name.removeprefix("FLOW_")


def is_stream_of_flow(stream_name: str) -> bool:
    """Whether a stream keeps a flow's outputs."""
    return stream_name.startswith("FLOW_")


def durable(node_type: str, slot: int) -> str:
    """The consumer of the node that holds `slot` (1 to 16) of its type."""
    return f"{node_type}-{slot}"


def next_message(stream_name: str, consumer: str) -> str:
    """Where a pull from a consumer is asked for."""
    return f"$JS.API.CONSUMER.MSG.NEXT.{stream_name}.{consumer}"


def about_consumer(pull: str) -> str:
    """Where it is asked how a consumer is; `pull` is its `next_message`."""
    return pull.replace(".CONSUMER.MSG.NEXT.", ".CONSUMER.INFO.")


def forgotten(stream_name: str, notice: str) -> str:
    """Where the operator tells the catalog which messages of a stream, of a flow or DEAD, were forgotten."""
    if stream_name == DEAD:
        return dead("all", OPERATOR, "forget", notice)
    return output(flow_of(stream_name), OPERATOR, "forget", "forgotten", notice)


def seeds(flow: str) -> str:
    """Where people publish seeds for a flow."""
    return f"seeds.{flow}"


def seeded_flow(subject: str) -> str:
    """The flow that a seed's subject names."""
    return subject.removeprefix("seeds.")


def is_seed(subject: str) -> bool:
    """Whether this is where people publish seeds."""
    return subject.startswith("seeds.")


def dead(flow: str, node_type: str, node: str, entity: str) -> str:
    """The subject of one dead letter."""
    return f"dead.{flow}.{node_type}.{node}.{entity}"


def progress(flow: str, node_type: str, node: str) -> str:
    """Where a worker says on core NATS what it is doing."""
    return f"progress.{flow}.{node_type}.{node}"


def scaling(node_type: str) -> str:
    """Where it is told that a service was given more workers, or fewer."""
    return f"scaling.{node_type}"


def flow_key(flow: str) -> str:
    """The subject under which KV bucket `flows` keeps a deployed flow."""
    return f"$KV.{FLOWS_BUCKET}.{flow}"


def lease(kind: str, name: str) -> str:
    """The subject under which KV bucket `leases` keeps a lease."""
    return f"$KV.{LEASES_BUCKET}.{kind}.{name}"


def delete_lease() -> str:
    """Where one entry of KV bucket `leases` is deleted, by its sequence."""
    return f"$JS.API.STREAM.MSG.DELETE.KV_{LEASES_BUCKET}"
