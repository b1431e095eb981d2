"""Dead letters as people read them: the list by reason, and one in full."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lodestream.deadletters import Dead
    from proto.messages import Attempt, DeadLetter

SHOWN = 3
"""Dead letters that the list names of each group."""


def grouped(found: "Iterable[Dead]") -> "list[RenderableType]":
    """Reason by reason, the most frequent first, with the newest of each."""
    groups: dict[tuple[str, str, str], list[Dead]] = defaultdict(list)
    for each in found:
        groups[each.letter.flow, each.letter.node, each.letter.reason].append(each)
    return [part for members in sorted(groups.values(), key=len, reverse=True) for part in _group(members)]


def _group(members: "list[Dead]") -> "list[RenderableType]":
    from rich.text import Text

    from lodestream.cli import output
    from lodestream.cli.wording import ago

    members = sorted(members, key=lambda member: member.letter.at, reverse=True)
    letter = members[0].letter
    times = f"newest {ago(letter.at)}, oldest {ago(members[-1].letter.at)}" if len(members) > 1 else ago(letter.at)
    where = f", at node {letter.node} of flow {letter.flow}, {times}"
    head = Text.assemble(f"{len(members):,} x ", (output.clean(letter.reason), "bold"), output.clean(where))
    rows = [["   ", m.letter.entity, ago(m.letter.at), m.letter.detail] for m in members[:SHOWN]]
    more = [f"    and {len(members) - SHOWN:,} more"] if len(members) > SHOWN else []
    return [head, output.table(["", "", "", ""], rows), *more]


def in_full(letter: "DeadLetter") -> "list[RenderableType]":
    """All of one: what and why, who and when, every attempt, the input, the traceback, and what can be done."""
    from rich.text import Text

    from lodestream.cli import output
    from lodestream.cli.wording import ago, plural

    why = f": {letter.detail}" if letter.detail else ""
    facts = [
        ["  node", f"{letter.node} ({letter.node_type}) of flow {letter.flow}"],
        ["  given up", f"{ago(letter.at)} ({letter.at}), after {plural(letter.deliveries, 'delivery', 'deliveries')}"],
        ["  worker", letter.worker or "none lived to say"],
        ["  input", f"{letter.input_subject}, message {letter.input_seq} of stream {letter.input_stream}"],
    ]
    again = f"  again: lode dead retry {letter.entity}    off the list: lode dead drop {letter.entity}"
    return [
        Text.assemble(
            (output.clean(letter.entity), "bold"), ": ", (output.clean(letter.reason), "bad"), output.clean(why)
        ),
        output.table(["", ""], facts),
        *_attempts(letter.attempts),
        "  the input" + (", in base64" if letter.input_encoding == "base64" else ""),
        *(f"    {line}" for line in _pretty(letter.input).splitlines()),
        *(["  traceback"] if letter.traceback else []),
        *(Text(f"    {output.clean(line)}", "dim") for line in letter.traceback.splitlines()),
        Text(output.clean(again), "dim"),
    ]


def _attempts(attempts: "list[Attempt]") -> "list[RenderableType]":
    """When each was, how long after the one before, where, and what came of it."""
    from itertools import pairwise

    from lodestream.cli import output
    from lodestream.cli.wording import plural

    if not attempts:
        return []
    later = [""] + [_later(before.at, after.at) for before, after in pairwise(attempts)]
    rows = [
        [f"  {n:>3}", attempt.at[:19].replace("T", " "), since, attempt.worker, attempt.error]
        for n, (attempt, since) in enumerate(zip(attempts, later, strict=True), 1)
    ]
    return [f"  {plural(len(attempts), 'attempt')}, in UTC", output.table([""] * 5, rows)]


def _later(before: str, after: str) -> str:
    """`+4 s`; nothing where one of them is no time."""
    from datetime import datetime

    from lodestream.cli.wording import span

    try:
        return f"+{span((datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds())}"
    except (ValueError, TypeError):
        return ""


def _pretty(text: str) -> str:
    """JSON with a field a line; anything else as it is."""
    import msgspec

    try:
        return msgspec.json.format(text, indent=2) if text[:1] in ("{", "[") else text
    except msgspec.MsgspecError:
        return text
