"""The live door: one SELECT over NATS, answered from the tables as they are this moment, bounded in time and memory."""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from lodestream.catalog.query import Query, Stuck, in_time
from lodestream.errors import LodeError
from services.catalog.limits import BROKEN, give_up
from services.catalog.store import Store

AT_ONCE = 4
"""Queries that run at the same time."""
WAITING = 64
"""Queries that may wait for their turn."""
LONGEST = 60.0
"""Seconds that a query may take, whatever it asks for."""
STUCK = 5.0
"""Seconds that a query which cannot be interrupted may still take; then this process ends."""
KEPT = 16
"""Answers that wait to be fetched further."""
KEPT_FOR = 10.0
"""Seconds until an answer that nobody fetches further is dropped."""


class Ask(msgspec.Struct, forbid_unknown_fields=True):
    """A query, or the next part of an answer."""

    sql: str = ""
    seconds: float = 5.0
    """Time that each part may take, 60 at most."""
    rows: int = 10_000
    """Rows of one reply at most."""
    keep: bool = False
    """Keep what does not fit into one reply, to be asked for by `next`."""
    next: str = ""
    """The `next` of the reply before."""


class Reply(msgspec.Struct):
    """One part of an answer."""

    columns: list[str]
    types: list[str]
    rows: list[msgspec.Raw]
    truncated: bool
    next: str
    """What to ask with for the rest, within 10 s; empty where there is none, or it was not to be kept."""
    ms: float


@dataclass
class Kept:
    """An answer that is fetched part by part."""

    query: Query
    seconds: float
    expiry: asyncio.TimerHandle


class Door:
    """Answers queries; `size` is the bytes that a reply may have."""

    def __init__(self, store: Store, size: int):
        self._store, self._size = store, size
        self._threads = ThreadPoolExecutor(AT_ONCE, "query")
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._kept: dict[str, Kept] = {}

    async def answer(self, request: bytes) -> bytes:
        """The reply to a request: SQL as it is, or an `Ask` in JSON. Raises LodeError in one line."""
        ask = _read(request)
        if self._waiting >= WAITING:
            raise LodeError("the catalog has too many queries at once; ask again in a second")
        self._waiting += 1
        try:
            async with self._turns:
                return await self._answer(ask)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Drop what nobody has fetched."""
        for token in list(self._kept):
            self._drop(token)

    async def _answer(self, ask: Ask) -> bytes:
        started = time.perf_counter()
        try:
            if ask.next:
                query, seconds = self._fetch_further(ask.next)
            else:
                cursor, seconds = self._store.reader(), min(max(ask.seconds, 0.01), LONGEST)
                query = await in_time(cursor, lambda: Query(cursor, ask.sql), seconds, self._threads)
            return await self._part(query, ask, seconds, started)
        except Stuck as stuck:
            asyncio.get_running_loop().call_later(STUCK, _end_unless_done, stuck.work)
            raise
        except LodeError as error:
            if isinstance(error.__cause__, BROKEN):
                give_up(str(error))
            raise

    async def _part(self, query: Query, ask: Ask, seconds: float, started: float) -> bytes:
        head = Reply(query.columns, query.types, [], False, "", 0.0)
        room = self._size - len(msgspec.json.encode(head)) - 100
        left = max(seconds - (time.perf_counter() - started), 0.01)
        rows = await in_time(query.cursor, lambda: query.part(max(ask.rows, 0), room), left, self._threads)
        head.rows, head.truncated = [msgspec.Raw(row.encode()) for row in rows], query.more
        if query.more and (ask.keep or ask.next):
            head.next = self._keep(query, seconds)
        else:
            query.close()
        head.ms = round((time.perf_counter() - started) * 1e3, 1)
        return msgspec.json.encode(head)

    def _keep(self, query: Query, seconds: float) -> str:
        if len(self._kept) >= KEPT:
            self._drop(next(iter(self._kept)))
        token = secrets.token_urlsafe(12)
        expiry = asyncio.get_running_loop().call_later(KEPT_FOR, self._drop, token)
        self._kept[token] = Kept(query, seconds, expiry)
        return token

    def _fetch_further(self, token: str) -> tuple[Query, float]:
        if (kept := self._kept.pop(token, None)) is None:
            raise LodeError(f"the rest of that answer is gone: it is kept for {KEPT_FOR:g} s; ask again")
        kept.expiry.cancel()
        return kept.query, kept.seconds

    def _drop(self, token: str) -> None:
        if kept := self._kept.pop(token, None):
            kept.expiry.cancel()
            kept.query.close()


def _read(request: bytes) -> Ask:
    try:
        if request.lstrip().startswith(b"{"):
            return msgspec.json.decode(request, type=Ask)
        return Ask(sql=request.decode())
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LodeError(f"a query is SQL as it is, or JSON with `sql`: {error}") from None


def _end_unless_done(work: "asyncio.Future[Any]") -> None:
    if not work.done():
        give_up("a query cannot be interrupted")
