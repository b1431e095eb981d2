"""The process table: which programs an instance runs beside its NATS server."""

import os
import sys
from collections.abc import Mapping

from lodestream.errors import LodeError
from lodestream.local import triton
from lodestream.local.child import Program
from lodestream.registry import node_types
from lodestream.rights import CATALOG


def process_table(counts: Mapping[str, int] | None = None, *, autoscale: bool = False) -> list[Program]:
    """One worker for each node type, or as many as `counts` says, the catalog and Triton.

    Raises LodeError for other names.
    With `autoscale` there may be more of each that has any: one for each core of this machine.
    """
    types, counts = node_types(), counts or {}
    for name, count in counts.items():
        if name not in types or count < 0:
            raise LodeError(f"cannot run {count} of {name!r}; node types are: {', '.join(types)}")
    workers = [_worker(kind, n) for kind in types for n in range(1, counts.get(kind, 1) + 1)]
    if autoscale:
        for first in (worker for worker in workers if worker.name == worker.service):
            first.most = max(len(os.sched_getaffinity(0)), counts.get(first.name, 1))
    return [*workers, _program(CATALOG, CATALOG, "services.catalog"), triton.program()]


def _worker(kind: str, number: int) -> Program:
    return _program(name_of(kind, number), kind, "lodestream.worker", kind)


def name_of(kind: str, number: int) -> str:
    """What the workers of a type are called: extract, extract-2, extract-3."""
    return kind if number == 1 else f"{kind}-{number}"


def _program(name: str, user: str, *module: str) -> Program:
    """`-P`: what lies in the folder where somebody typed `lode up` is not ours to import."""
    return Program(name=name, argv=[sys.executable, "-P", "-m", *module], user=user, service=user)
