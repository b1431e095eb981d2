"""One connection to NATS that comes back by itself and tells who waits when it was lost."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from lodestream.errors import LodeError

log = structlog.get_logger()

Given = TypeVar("Given")


class Away(LodeError):
    """No server answers."""


@dataclass
class Bus:
    """A connection, and those to be told when it breaks: what was in flight then never gets its answer."""

    nc: Client
    on_lost: list[Callable[[], None]] = field(default_factory=list)

    async def lost(self) -> None:
        """Tell everybody that what they wait for will not come."""
        for tell in list(self.on_lost):
            tell()

    async def close(self) -> None:
        """Send what is buffered and leave; where the server is gone, there is nothing left to do."""
        if not self.nc.is_closed:
            with contextlib.suppress(OSError):
                await self.nc.close()


async def heard(answer: Awaitable[Given]) -> Given:
    """An answer; where this task was cancelled meanwhile, CancelledError.

    Before Python 3.12 `asyncio.wait_for`, by which the client waits, tells nobody of a cancellation that comes together
    with the answer: https://github.com/python/cpython/issues/86296. A duty would go on for ever.
    """
    task = asyncio.current_task()
    assert task
    before = task.cancelling()
    given = await answer
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return given


class HearingClient(Client):
    """The client, whose requests lose no cancellation."""

    async def request(self, *told: Any, **named: Any) -> Msg:
        """See the client's own."""
        return await heard(super().request(*told, **named))

    async def flush(self, *told: Any, **named: Any) -> None:
        """See the client's own."""
        await heard(super().flush(*told, **named))


async def connect(
    url: str, user: str = "", password: str = "", *, name: str = "lodestream", patience: float | None = None
) -> Bus:
    """A bus; waits for the server, for `patience` seconds at most (None: for ever).

    Raises Away where nobody answers in time, LodeError where the password is wrong.
    """
    loop = asyncio.get_running_loop()
    end = None if patience is None else loop.time() + patience
    while True:
        try:
            return await _connect(url, user, password, name)
        except nats.errors.AuthorizationError:
            raise LodeError(f"NATS at {url} refuses user {user!r}: wrong name or password") from None
        except (OSError, nats.errors.Error) as error:
            if end is not None and loop.time() >= end:
                raise Away(f"no NATS server answers at {url} ({error or 'timed out'})") from None
            await asyncio.sleep(0.2)


async def _connect(url: str, user: str, password: str, name: str) -> Bus:
    """One try: the client's own endless first try hides why it does not succeed."""
    bus = Bus(HearingClient())
    options: dict[str, Any] = {"user": user, "password": password} if user else {}
    await bus.nc.connect(
        servers=[url],
        name=name,
        allow_reconnect=False,
        connect_timeout=2,
        reconnect_time_wait=0.2,
        max_reconnect_attempts=1,
        disconnected_cb=bus.lost,
        error_cb=_on_error,
        inbox_prefix=f"_INBOX_{user}" if user else "_INBOX",
        pending_size=64 << 20,
        skip_subject_validation=True,
        **options,
    )
    bus.nc.options.update(allow_reconnect=True, max_reconnect_attempts=-1)
    return bus


async def _on_error(error: Exception) -> None:
    """Say what the server refuses (nobody else would hear of it); a lost connection is told by those who wait."""
    if "permissions violation" in str(error).lower():
        log.error("not permitted", error=str(error))
