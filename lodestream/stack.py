"""The stack that commands speak to: this machine's processes in LODE_HOME, or containers; `LODE_STACK` says which."""

import os
from pathlib import Path
from typing import Protocol

from lodestream.catalog.client import DOOR_FILE, TOKEN_FILE
from lodestream.errors import LodeError
from lodestream.local import Connection, Home, State, connection, home, read_state
from lodestream.rights import OPERATOR

VARIABLE = "LODE_STACK"
LOCAL, COMPOSE = "local", "compose"


class Stack(Protocol):
    """A stack that may be up. Everything raises LodeError, with what to do, where it is not."""

    @property
    def name(self) -> str:
        """For people: where it is."""

    @property
    def folder(self) -> Path | None:
        """The catalog's folder, where it is on this machine."""

    @property
    def disk(self) -> Path | None:
        """A folder on the disk that it fills, where that is one of this machine."""

    def state(self) -> State:
        """What runs."""

    def connection(self, user: str = OPERATOR) -> Connection:
        """How `user` reaches its NATS server."""

    def objects(self) -> str:
        """URL of its object store; works also while nothing is up, where the store is a folder."""

    def quack(self) -> tuple[str, str]:
        """Where DuckDB clients find the catalog, and what they show it."""

    def triton(self) -> tuple[str, Path | None]:
        """Where gRPC finds its Triton server, if it has one; and its models, where they lie on this machine."""

    def models(self) -> Path:
        """The folder of models on this machine; also while nothing is up, where it is in a home."""

    def variables(self) -> dict[str, str]:
        """What makes other commands speak to the same stack."""


class LocalStack:
    """Processes of this machine, in one home."""

    def __init__(self, home: Home):
        self.home = home

    @property
    def name(self) -> str:
        """See Stack."""
        return str(self.home.root)

    @property
    def folder(self) -> Path | None:
        """See Stack."""
        return self.home.catalog

    @property
    def disk(self) -> Path | None:
        """See Stack."""
        return self.home.root

    def state(self) -> State:
        """See Stack."""
        if (state := read_state(self.home)) is None:
            raise LodeError(f"nothing is up in {self.home.root}; start it with: lode up -d")
        return state

    def connection(self, user: str = OPERATOR) -> Connection:
        """See Stack."""
        self.state()
        return connection(self.home, user)

    def objects(self) -> str:
        """See Stack."""
        return self.home.objects.as_uri()

    def quack(self) -> tuple[str, str]:
        """See Stack."""
        self.state()
        door, token = ((self.home.catalog / name).read_text().strip() for name in (DOOR_FILE, TOKEN_FILE))
        return door, token

    def triton(self) -> tuple[str, Path | None]:
        """See Stack."""
        return self.home.triton(), self.home.models

    def models(self) -> Path:
        """See Stack."""
        return self.home.models

    def variables(self) -> dict[str, str]:
        """See Stack."""
        return {home.VARIABLE: str(self.home.root)}


def current() -> Stack:
    """The stack that the environment names. Raises LodeError for a name that is none."""
    kind, _, project = os.environ.get(VARIABLE, LOCAL).partition(":")
    if kind == LOCAL and not project:
        return LocalStack(Home.find())
    if kind == COMPOSE:
        from lodestream.compose.stack import PROJECT, ComposeStack

        return ComposeStack(project or PROJECT)
    raise LodeError(f"no stack {kind!r}: it is {LOCAL}, {COMPOSE}, or {COMPOSE}:PROJECT")
