"""The instance that the environment names, as commands reach it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Protocol

from lodestream.errors import LodeError

if TYPE_CHECKING:
    from lodestream.bus import Bus
    from lodestream.catalog import Answer
    from lodestream.objects import Objects


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
    from lodestream.stack import current

    bus = await connect(*current().connection(), name="lode", patience=PATIENCE)
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
    from lodestream.stack import current

    folder, nc = current().folder, None
    async with AsyncExitStack() as stack:
        with suppress(LodeError) if folder else nullcontext():  # a file answers without NATS, too
            nc = (await stack.enter_async_context(operator())).nc
        ways = Ways(nc, folder)

        async def ask(query: str, rows: int | None = None) -> "Answer":
            return await sql(query, ways, rows=rows)

        yield ask


def objects() -> "Objects":
    """The object store; a folder also while nothing is up. Raises LodeError, with what to do."""
    from lodestream.objects import open_objects
    from lodestream.stack import current

    return open_objects(current().objects())


def worker_environment(node_type: str) -> dict[str, str]:
    """What a worker of this instance is told. Raises LodeError where nothing is up."""
    from lodestream.errors import LodeError
    from lodestream.stack import LocalStack, current

    stack = current()
    if not isinstance(stack, LocalStack):
        raise LodeError("a worker in the foreground works beside those of `lode up` only")
    stack.state()
    return stack.home.environment(node_type)
