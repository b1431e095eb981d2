"""The embedded stack: one instance in one folder, its processes supervised."""

import lodestream.lean  # isort: skip  # noqa: F401
from lodestream.local.home import Home
from lodestream.local.start import Connection, connection, down, is_up, up
from lodestream.local.state import Process, State, read_state

__all__ = ["Connection", "Home", "Process", "State", "connection", "down", "is_up", "read_state", "up"]
