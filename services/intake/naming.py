"""The id of a seed: the same for the same wish, however it is spelled, and readable."""

import re
import unicodedata

from lodestream.web import identity
from proto import ids

_LONGEST_SLUG = 40


def seed_id(kind: str, value: str, limit: int | None, round: str, lines: str = "") -> str:
    """`query-handstand-tutorial-<16 hex>`.

    A limit, a round or other lines make another seed, since it asks for something else; labels and a timeout do not.
    """
    plain = _plain(kind, value)
    asked = "\0".join((kind, plain, str(limit or ""), round, *filter(None, [lines])))
    slug = re.sub(r"[^a-z0-9]+", "-", _ascii(re.sub(r"^\w+://(www\.)?", "", plain))).strip("-")
    return "-".join(filter(None, (kind, slug[:_LONGEST_SLUG].strip("-"), ids.digest(asked.encode(), 8))))


def _plain(kind: str, value: str) -> str:
    """The value apart from its spelling."""
    if kind == "query":
        return unicodedata.normalize("NFC", value).casefold()
    try:
        return identity.canonical(value)
    except ValueError:
        return value  # a path


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
