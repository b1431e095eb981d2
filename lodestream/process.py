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
OBJECTS_FILE = "LODE_OBJECTS_FILE"
WORK = "LODE_WORK"
TRITON = "LODE_TRITON"
MODELS = "LODE_MODELS"
LOG_LEVEL = "LODE_LOG_LEVEL"
LEVELS = ("debug", "info", "warning", "error")


class Process(msgspec.Struct, frozen=True):
    """Where the parts are, and who this process is to them."""

    nats_url: str
    user: str
    password: str
    objects: str
    """URL of the object store, `file:///folder` or `s3://...`; in a file of its own where it holds a password.

    Empty for a service that stores nothing.
    """
    work: Path
    """Folder for temporary files."""
    triton: str = ""
    """Where a Triton server listens, as gRPC has it: `host:port` or `unix:path`; empty where there is none."""
    models: Path | None = None
    """The folder of models that it serves."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ, *, stores: bool = True) -> "Process":
        """Read the environment and set up logging. Raises LodeError naming the variable that is missing or wrong."""
        set_up_log(env)
        objects = env.get(OBJECTS) or _content(env, OBJECTS_FILE)
        missing = [name for name in (NATS_URL, WORK) if not env.get(name)]
        missing += [OBJECTS] if stores and not objects else []
        if missing:
            raise LodeError(f"not set: {', '.join(missing)}; `lode up` sets them for the services that it starts")
        password, models = _content(env, NATS_PASSWORD_FILE), env.get(MODELS)
        return cls(
            env[NATS_URL],
            env.get(NATS_USER, ""),
            password,
            objects,
            Path(env[WORK]),
            env.get(TRITON, ""),
            Path(models) if models else None,
        )

    async def connect(self, name: str) -> Bus:
        """A bus under this process's user; waits for the server as long as it takes."""
        return await connect(self.nats_url, self.user, self.password, name=name)


def set_up_log(env: Mapping[str, str] = os.environ) -> None:
    """Log from the level on that the environment names. Raises LodeError for one that there is not."""
    if (level := env.get(LOG_LEVEL, "info")) not in LEVELS:
        raise LodeError(f"{LOG_LEVEL} is {level!r}; it is one of {', '.join(LEVELS)}")
    log.configure(level)


def _content(env: Mapping[str, str], variable: str) -> str:
    """What the file says that a variable names; nothing where it names none."""
    if not (file := env.get(variable)):
        return ""
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise LodeError(f"cannot read {variable} {file}: {error.strerror}") from None
