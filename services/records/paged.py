"""A sequence of pages, each of which says where the next one is."""

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

from proto import ids
from services.records.api import Api
from services.records.page import Content, Page, Unclear, read
from services.records.shelf import Batch, Shelf

MOST_EMPTY = 100
"""Pages without a record, one after the other, after which nothing more is expected."""


class Endless(Exception):
    """A sequence that leads nowhere; its words say how."""


async def pages(first: str, api: Api, shelf: Shelf, settings: Any) -> AsyncIterator[Batch]:
    """The pages from the first one on; a stored one is not asked for. Raises Failed, Unclear and Endless."""
    url, position, empty = first, 1, 0
    seen: set[str] = set()
    while url:
        key, content = await _page(url, first, api, shelf, settings)
        yield Batch(key, [(position + n, bytes(item)) for n, item in enumerate(content.items)])
        position += len(content.items)
        empty = 0 if content.items else empty + 1
        seen.add(ids.digest(url.encode()))
        url = content.next
        if ids.digest(url.encode()) in seen:
            raise Endless(f"the cursor of page {len(seen)} leads back to an earlier one: {content.cursor[:80]!r}")
        if empty == MOST_EMPTY:
            raise Endless(f"{MOST_EMPTY} pages without a record, one after the other")


async def _page(url: str, first: str, api: Api, shelf: Shelf, settings: Any) -> tuple[str, Content]:
    """Key and content of one page; one that is of no use is asked for again, and kept all the same."""
    for turn in count():
        key = shelf.key(url, turn)
        if (page := await shelf.find(key, Page)) is None:
            return key, _read(await shelf.keep(key, await api.page(url)), first, settings)
        try:
            return key, _read(page, first, settings)
        except Unclear:
            continue
    raise AssertionError("unreachable")


def _read(page: Page, first: str, settings: Any) -> Content:
    return read(page, first, settings.items, settings.cursor, settings.cursor_param)
