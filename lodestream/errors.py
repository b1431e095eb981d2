"""What can go wrong, by kind: the kind decides what becomes of the message."""

ATTEMPTS = 4
"""A first try and three more, after 1, 2 and 4 seconds."""

DELIVERIES, DELIVERIES_OF_WAITERS = 6, 100
"""Of one message, before it counts as what kills its workers. One that waits for a lease or a host is in hand for long:
it may be handed on, and its worker may die, many times by no fault of its own."""

MISSING, CHANGED = "object missing", "changed at source"
"""Reasons of dead letters: its detail is the key of an object; that object can no longer be made as it was."""


class LodeError(Exception):
    """Something a person can put right; shown as one line, without a traceback."""


class Reject(Exception):
    """A node's honest no: becomes a `Rejected` message and is not tried again."""

    def __init__(self, reason: str, detail: str = "", *, lasting: bool = True, repeats: str = ""):
        """`lasting` no's are remembered for other flows too; one that the web may take back tomorrow is not."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.lasting, self.repeats = reason, detail, lasting, repeats


class Retry(Exception):
    """Not now: another attempt after `after` seconds, or after 1, 2, 4 s with jitter; a dead letter after the last."""

    def __init__(self, reason: str, detail: str = "", *, after: float | None = None):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.after = reason, detail, after


class Postpone(Retry):
    """Not now, and through no fault of the message: it comes again, and this was no attempt."""


class Malformed(Exception):
    """An input that no retry can mend: a dead letter at once."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


class Missing(Malformed, KeyError):
    """The object that an input speaks of is gone, or not what was stored; housekeeping sees to it that it is made."""

    def __init__(self, key: str):
        super().__init__(MISSING, key)


class Outage(Exception):
    """A part that everybody needs is away: the message is held, with backoff, until it is back; never a dead letter."""
