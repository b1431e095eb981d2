"""Three node types for tests of what is given by type: one that takes seeds, one with leases, one with neither."""

from collections.abc import AsyncIterator

from lodestream.job import Job
from lodestream.node import Node, Output, Settings
from proto.messages import Candidate, Message, Shard


async def nothing(message: Message, job: Job) -> AsyncIterator[Output]:
    """A handler that gives nothing."""
    return
    yield


def node(kind: str, *takes: type[Message]) -> Node:
    """A node type of that name."""
    return Node(kind, "", takes, {"out": Candidate}, Settings, nothing)


TYPES = {n.type: n for n in (node("intake"), node("fetch", Candidate), node("filter", Shard))}
