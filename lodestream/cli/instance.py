"""The instance that the environment names, as commands reach it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from lodestream.errors import LodeError

if TYPE_CHECKING:
    from lodestream.bus import Bus
    from lodestream.catalog import Answer
    from lodestream.local import Home


class Ask(Protocol):
    """Asks the catalog one SELECT; `rows` at most."""

    async def __call__(self, query: str, rows: int | None = None) -> "Answer":
        """Raises LodeError."""


PATIENCE = 3.0
"""Seconds that a server which should be up has to answer."""


@asynccontextmanager
async def operator() -> "AsyncIterator[Bus]":
    """A connection with every right.

    Raises LodeError, with what to do, where nothing is up; Away where the server does not answer, or stops answering.
    """
    import nats.errors
    from nats.js.errors import ServiceUnavailableError

    from lodestream.bus import Away, connect
    from lodestream.local import Home, connection

    url, user, password = connection(require_up(Home.find()))
    bus = await connect(url, user, password, name="lode", patience=PATIENCE)
    try:
        yield bus
    except nats.errors.MaxPayloadError:
        raise LodeError(f"too large for one message: more than {bus.nc.max_payload >> 20} MiB") from None
    except ServiceUnavailableError as error:
        raise LodeError(f"NATS takes nothing more: {error.description}; see: lode status, lode doctor") from None
    except (nats.errors.TimeoutError, nats.errors.ConnectionClosedError, nats.errors.NoServersError):
        raise Away("the NATS server stopped answering; see: lode status, lode logs nats") from None
    finally:
        await bus.close()


@asynccontextmanager
async def catalog() -> "AsyncIterator[Ask]":
    """Asks the catalog SELECTs, also while nothing is up. What it gives raises LodeError, in one line."""
    from lodestream.catalog import Ways, sql
    from lodestream.local import Home, read_state

    home, nc = Home.find(), None
    async with AsyncExitStack() as stack:
        if read_state(home):
            with suppress(LodeError):  # it answers without NATS, too
                nc = (await stack.enter_async_context(operator())).nc
        ways = Ways(nc, home.catalog)

        async def ask(query: str, rows: int | None = None) -> "Answer":
            return await sql(query, ways, rows=rows)

        yield ask


def require_up(home: "Home") -> "Home":
    """The home, where an instance runs in it. Raises LodeError, with what to do, where none does."""
    from lodestream.local import read_state

    if read_state(home) is None:
        raise LodeError(nothing_up(home))
    return home


def worker_environment(node_type: str) -> dict[str, str]:
    """What a worker of this instance is told. Raises LodeError where nothing is up."""
    from lodestream.local import Home

    return require_up(Home.find()).environment(node_type)


def nothing_up(home: "Home") -> str:
    """That nothing runs, and what to do."""
    return f"nothing is up in {home.root}; start it with: lode up -d"
