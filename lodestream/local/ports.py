"""Ports on loopback: the usual one, or another where somebody has it."""

import socket
from collections.abc import Mapping

from lodestream.errors import LodeError

HOST = "127.0.0.1"
NATS, QUACK = "nats", "quack"
USUAL = {NATS: 4222, QUACK: 9494}
"""Where clients look first."""
TRIES = 200


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just left is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose_all(kept: Mapping[str, int]) -> dict[str, int]:
    """A port for each, those kept from last time where they are free. Raises LodeError where none is.

    The second port is found as far from its usual one as the first: nobody may listen on it yet, and where DuckDB
    does, a second one would silently share it.
    """
    nats = choose(NATS, kept.get(NATS))
    return {NATS: nats, QUACK: choose(QUACK, kept.get(QUACK), (nats - USUAL[NATS]) % TRIES)}


def choose(name: str, kept: int | None = None, offset: int = 0) -> int:
    """The port kept from last time, the usual one, or the next that is free. Raises LodeError where none is."""
    first = USUAL[name] + offset
    for port in (*([kept] if kept else []), *range(first, first + TRIES)):
        if is_free(port):
            return port
    raise LodeError(f"no free port for {name} on {HOST} from {first} to {first + TRIES - 1}; stop something there")
