"""The node types that there are: every folder of the namespace package `services` whose `node.py` binds `NODE`."""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import services
from lodestream.node import Node


@cache
def node_types() -> dict[str, Node]:
    """Every node type by name. A folder named `services/<type>` anywhere on PYTHONPATH adds one."""
    found = (m.name for m in pkgutil.iter_modules(services.__path__) if m.ispkg)
    nodes = (import_module(f"services.{n}.node").NODE for n in sorted(found) if find_spec(f"services.{n}.node"))
    return {node.type: node for node in nodes}
