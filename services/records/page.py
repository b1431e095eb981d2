"""One page of an API: where its records are, and where the next page is."""

from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import msgspec

from lodestream import records


class Unclear(ValueError):
    """A page in which no records can be found; its words say what there is."""


class Page(msgspec.Struct, kw_only=True):
    """What came of one request, as it is stored: the body as it was received."""

    url: str
    at: str
    """When it came, ISO 8601."""
    link: str = ""
    """The `next` of its Link header, whole."""
    body: str


class Content(NamedTuple):
    """What a page says."""

    items: list[msgspec.Raw]
    cursor: str
    """What tells its successor from it: the cursor, or the link; empty on the last page."""
    next: str
    """URL of the next page; empty on the last."""


def read(page: Page, first: str, items: str, cursor: str, param: str) -> Content:
    """The records of a page, and its successor; `first` is the URL of the first page. Raises Unclear.

    `items` and `cursor` are dotted paths, `param` the query parameter that takes the cursor; see the node's settings.
    """
    body = msgspec.Raw(page.body.encode())
    token = _cursor(body, page, cursor)
    if not token:
        return Content(_items(body, items), "", "")
    try:
        link = with_parameter(first, param, token) if param else urljoin(page.url, token)
    except ValueError:
        raise Unclear(f"what should lead to the next page is no URL: {token[:80]!r}") from None
    return Content(_items(body, items), token, link)


def with_parameter(url: str, name: str, value: str) -> str:
    """The URL with one parameter of its query set; the others stay as they are written."""
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] != name]
    return urlunsplit(parts._replace(query="&".join([*kept, f"{quote(name)}={quote(value, safe='')}"])))


def _items(body: msgspec.Raw, path: str) -> list[msgspec.Raw]:
    if path:
        found = records.dig(body, path)
        listed = _list(found) if found is not None else None
        if listed is None:
            raise Unclear(f"no list at {path!r}{_fields(body)}")
        return listed
    if (whole := _list(body)) is not None:
        return whole
    lists = [listed for value in _object(body).values() if (listed := _list(value)) is not None]
    if not lists:
        raise Unclear(f"no list of records in it{_fields(body)}")
    return next((listed for listed in lists if listed and bytes(listed[0]).lstrip()[:1] == b"{"), lists[0])


def _cursor(body: msgspec.Raw, page: Page, path: str) -> str:
    if path:
        found = records.dig(body, path)
        value = msgspec.json.decode(found) if found is not None else None
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if page.link:
        return page.link
    link = _object(body).get("next")
    value = msgspec.json.decode(link) if link is not None else None
    return value if isinstance(value, str) and value.startswith(("http://", "https://", "/", "?")) else ""


def _list(text: msgspec.Raw) -> list[msgspec.Raw] | None:
    try:
        return msgspec.json.decode(text, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        return None


def _object(text: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return {}


def _fields(body: msgspec.Raw) -> str:
    names = ", ".join(_object(body))
    return f"; it has the fields {names[:200]}" if names else "; it is no object"
