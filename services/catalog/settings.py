"""What the catalog is told by its environment, beside what every service is."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lodestream.catalog.client import TOKEN_FILE
from lodestream.errors import LodeError

FOLDER = "LODE_CATALOG"
QUACK_HOST = "LODE_QUACK_HOST"
QUACK_PORT = "LODE_QUACK_PORT"
QUACK_TOKEN_FILE = "LODE_QUACK_TOKEN_FILE"
LOOPBACK, USUAL_PORT = "127.0.0.1", 9494


class Settings(msgspec.Struct, frozen=True):
    """Where the catalog lies, and where DuckDB clients find it."""

    folder: Path
    quack_host: str
    """Where to listen: on loopback, but for a container whose port is published there."""
    quack_port: int
    token: str

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Raises LodeError naming the variable that is missing or wrong."""
        if not env.get(FOLDER):
            raise LodeError(f"not set: {FOLDER}, the catalog's folder; `lode up` sets it")
        port, folder = env.get(QUACK_PORT) or str(USUAL_PORT), Path(env[FOLDER])
        if not port.isdecimal() or int(port) > 65535:
            raise LodeError(f"{QUACK_PORT} is {port!r}; it is a port, or 0 for any")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            host = env.get(QUACK_HOST) or LOOPBACK
            return cls(folder, host, int(port), _token(Path(env.get(QUACK_TOKEN_FILE) or folder / TOKEN_FILE)))
        except OSError as error:
            raise LodeError(f"cannot use the catalog's folder {folder}: {error}") from None


def _token(file: Path) -> str:
    """The token that DuckDB clients show; made at first start."""
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
            new.write(secrets.token_urlsafe(32) + "\n")
    if len(token := file.read_text().strip()) < 16 or "'" in token:
        raise LodeError(f"{file} holds no token: remove it, and a new one is made")
    return token
