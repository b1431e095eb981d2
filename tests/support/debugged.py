"""A debugged worker of a node type of its own: `python -m tests.support.debugged probe`; its handler has a breakpoint.

What a seed's value asks for happens: `stop` stops in the debugger, `fail` fails.
"""

from collections.abc import AsyncIterator

from lodestream.debug import __main__ as debugged
from lodestream.debug import onebyone
from lodestream.job import Job
from lodestream.node import Node, Output, Settings
from proto.messages import Candidate, Seed


async def handle(seed: Seed, job: Job) -> AsyncIterator[Output]:
    """One candidate of a seed."""
    found = Candidate(id=f"{seed.id}-found", url="", source="test", seed=seed.id)
    if seed.value == "stop":
        breakpoint()
    if seed.value == "fail":
        raise RuntimeError(f"cannot work on {seed.id}")
    yield "candidates", found


PROBE = Node("discover", "for tests", (Seed,), {"candidates": Candidate}, Settings, handle, memo=False)

if __name__ == "__main__":
    onebyone.HEARTBEAT = 0.3
    debugged.node_types = lambda: {"discover": PROBE}
    debugged.main()
