"""What a service process is told by its environment."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lodestream import log
from lodestream.bus import Bus, connect
from lodestream.errors import LodeError

NATS_URL = "LODE_NATS_URL"
NATS_USER = "LODE_NATS_USER"
NATS_PASSWORD_FILE = "LODE_NATS_PASSWORD_FILE"
OBJECTS = "LODE_OBJECTS"
WORK = "LODE_WORK"
LOG_LEVEL = "LODE_LOG_LEVEL"
LEVELS = ("debug", "info", "warning", "error")


class Process(msgspec.Struct, frozen=True):
    """Where the parts are, and who this process is to them."""

    nats_url: str
    user: str
    password: str
    objects: str
    """URL of the object store: `file:///folder` or `s3://...`."""
    work: Path
    """Folder for temporary files."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Process":
        """Read the environment and set up logging. Raises LodeError naming the variable that is missing or wrong."""
        if (level := env.get(LOG_LEVEL, "info")) not in LEVELS:
            raise LodeError(f"{LOG_LEVEL} is {level!r}; it is one of {', '.join(LEVELS)}")
        log.configure(level)
        missing = [name for name in (NATS_URL, OBJECTS, WORK) if not env.get(name)]
        if missing:
            raise LodeError(f"not set: {', '.join(missing)}; `lode up` sets them for the services that it starts")
        return cls(
            env[NATS_URL], env.get(NATS_USER, ""), _password(env.get(NATS_PASSWORD_FILE)), env[OBJECTS], Path(env[WORK])
        )

    async def connect(self, name: str) -> Bus:
        """A bus under this process's user; waits for the server as long as it takes."""
        return await connect(self.nats_url, self.user, self.password, name=name)


def _password(file: str | None) -> str:
    if not file:
        return ""
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise LodeError(f"cannot read {NATS_PASSWORD_FILE} {file}: {error.strerror}") from None
