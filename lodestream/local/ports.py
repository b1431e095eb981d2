"""Ports on loopback: the usual one, or another where somebody has it."""

import socket

from lodestream.errors import LodeError

HOST = "127.0.0.1"
USUAL = {"nats": 4222, "quack": 9494}
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


def choose(name: str, kept: int | None = None) -> int:
    """The port kept from last time, the usual one, or the next that is free. Raises LodeError where none is."""
    usual = USUAL[name]
    for port in (*([kept] if kept else []), *range(usual, usual + TRIES)):
        if is_free(port):
            return port
    raise LodeError(f"no free port for {name} on {HOST} from {usual} to {usual + TRIES - 1}; stop something there")
