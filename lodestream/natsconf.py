"""The configuration of a NATS server: its store, its limits, its users and their rights."""

import json

MAX_PAYLOAD = 4 << 20
"""Bytes; messages stay small, and a seed that is too large is to be refused in words, not by the connection."""
SYNC_INTERVAL = "1s"
"""How much a power cut may cost; costs nothing here, where the default of two minutes loses them."""


def config(name: str, listen: str, store: str, accounts: str, monitor: str = "") -> str:
    """The text of a configuration; `accounts` from `rights.accounts`.

    `listen` and `monitor` are address:port; monitoring has no password, so it is for loopback only.
    """
    watched = f"\nhttp: {quoted(monitor)}" if monitor else ""
    return f"""# Written at each start.
server_name: {quoted(name)}
listen: {quoted(listen)}{watched}
max_payload: {MAX_PAYLOAD}
jetstream {{
  store_dir: {quoted(store)}
  sync_interval: "{SYNC_INTERVAL}"
}}
{accounts}"""


def quoted(text: str) -> str:
    """A string of the configuration's, which knows no `\\u` escapes."""
    return json.dumps(text, ensure_ascii=False)
