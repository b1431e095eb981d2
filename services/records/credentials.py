"""Keys of web APIs: small files of request headers that only their owner may read."""

import os
import stat
from pathlib import Path

from lodestream.errors import Malformed

FOLDER = "api"
"""Below the secrets of an instance."""


def api_key(name: str) -> dict[str, str]:
    """The headers that `LODE_HOME/secrets/api/<name>` holds, `Name: value` a line.

    Raises Malformed, saying what to do, where there is none or where others may read it.
    """
    from lodestream.local import Home

    path = Home.find().secrets / FOLDER / name
    try:
        text = _private(path)
    except OSError as error:
        wanted = "write 'Authorization: Bearer ...' into it, then chmod 600"
        raise Malformed("no key", f"cannot read {path} ({error.strerror}); {wanted}") from None
    headers = dict(_header(line, path) for line in text.splitlines() if line.strip())
    if not headers:
        raise Malformed("no key", f"{path} is empty; it is to hold lines such as 'Authorization: Bearer ...'")
    return headers


def _private(path: Path) -> str:
    """The text of a file that is ours alone. Raises OSError, and Malformed where others may read it."""
    with path.open(encoding="utf-8", errors="replace") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise Malformed("no key", f"others may read {path}; make it yours alone: chmod 600 {path}")
        return file.read(64 << 10)


def _header(line: str, path: Path) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip() or not value.strip() or not (name + value).isprintable():
        raise Malformed("no key", f"a line of {path} is no header; it is to hold lines such as 'X-Api-Key: ...'")
    return name.strip(), value.strip()
