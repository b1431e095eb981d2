"""W3C trace context: one trace for a seed and all that comes of it. https://www.w3.org/TR/trace-context/"""

import secrets

HEADER = "traceparent"


def begin() -> str:
    """The traceparent of a new trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def step(parent: str) -> str:
    """The traceparent of a span below `parent`."""
    version, trace, _, flags = parent.split("-")[:4]
    return f"{version}-{trace}-{secrets.token_hex(8)}-{flags}"


def onward(headers: dict[str, str] | None, *, first: bool) -> dict[str, str] | None:
    """The headers of what is made from a message with these; `first` begins a trace where there is none."""
    if headers and (parent := headers.get(HEADER, "")).count("-") >= 3:
        return {HEADER: step(parent)}
    return {HEADER: begin()} if first else None
