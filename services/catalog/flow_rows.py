"""The deployed flows as tables: which recipes are current, and what feeds what."""

from collections.abc import Iterator
from typing import Any

import duckdb
import msgspec

from lodestream.flow.model import Deployed
from proto import subjects


def replace(connection: duckdb.DuckDBPyConnection, flows: dict[str, Deployed]) -> None:
    """Put the flows, by name, in place of what is in `flow_nodes` and `flow_wires`; call it in a transaction."""
    for table, rows in (("flow_nodes", list(_nodes(flows))), ("flow_wires", list(_wires(flows)))):
        connection.execute(f"delete from main.{table}")
        for row in rows:
            connection.execute(f"insert into main.{table} values ({', '.join('?' * len(row))})", row)


def _nodes(flows: dict[str, Deployed]) -> Iterator[list[Any]]:
    for name, flow in flows.items():
        for place, (node, deployed) in enumerate(flow.nodes.items()):
            settings = msgspec.json.encode(deployed.settings).decode()
            yield [name, node, deployed.type, place, deployed.paused, deployed.recipes, settings]


def _wires(flows: dict[str, Deployed]) -> Iterator[list[Any]]:
    for name, flow in flows.items():
        for node, deployed in flow.nodes.items():
            for subject, recipes in deployed.wires.items():
                if not subjects.is_seed(subject):
                    wire = subjects.parse(subject)
                    yield [name, node, wire.node, wire.port, recipes]
