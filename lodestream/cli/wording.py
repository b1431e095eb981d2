"""Numbers and times in words."""

from datetime import UTC, datetime

_STEPS = ((1, "s"), (60, "min"), (3600, "h"), (86_400, "d"))


def ago(iso: str, now: datetime | None = None) -> str:
    """How long ago an ISO 8601 time was: `just now`, `5 min ago`; the text itself where it is no time."""
    try:
        then = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    past = ((now or datetime.now(UTC)) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    return "just now" if past < 1 else f"{span(past)} ago"


def span(seconds: float) -> str:
    """A length of time, in one unit: `40 s`, `5 min`, `3 h`, `2 d`."""
    size, unit = next((size, unit) for size, unit in reversed(_STEPS) if seconds >= size or size == 1)
    return f"{seconds / size:.0f} {unit}"


def size(count: float) -> str:
    """Bytes as people say them: `512 B`, `3.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def plural(count: int, one: str, more: str = "") -> str:
    """`1 seed`, `2 seeds`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
