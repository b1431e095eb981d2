"""Dead letters as people read them."""

import io
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lodestream.cli import output
from lodestream.cli.letters import grouped, in_full
from lodestream.deadletters import Dead
from proto.messages import Attempt, DeadLetter


def dead(ident: str, *, ago_s: float = 0, **fields: Any) -> Dead:
    """A dead letter of node `get`, so old."""
    at = (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat(timespec="milliseconds")
    given = {"node_type": "fetch", "node": "get", "reason": "timed out", "entity": f"{ident}_r", **fields}
    return Dead("dead.f", 1, DeadLetter(id=ident, flow="cats", at=at, **given))


def said(parts: list[Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """What a pipe gets."""
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    output.show(*parts)
    return pipe.getvalue()


def test_groups_by_reason_the_most_frequent_first(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [dead(f"v{n}", ago_s=60 * n, detail="no answer") for n in range(1, 6)]
    lines = said(grouped([dead("x", reason="no space"), *many]), monkeypatch).splitlines()
    assert lines == [
        "5 x timed out, at node get of flow cats, newest 1 min ago, oldest 5 min ago",
        "     v1_r  1 min ago  no answer",
        "     v2_r  2 min ago  no answer",
        "     v3_r  3 min ago  no answer",
        "    and 2 more",
        "1 x no space, at node get of flow cats, just now",
        "     x_r  just now",
    ]


def test_one_in_full_tells_every_attempt_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = [
        Attempt("2026-01-01T00:00:00.000+00:00", "Retry: no answer", "one:1"),
        Attempt("2026-01-01T00:00:02.100+00:00", "Retry: no answer", "two:2"),
        Attempt("never", "Retry: gone", "two:2"),
    ]
    letter = dead(
        "v1",
        detail="no answer",
        deliveries=3,
        worker="two:2",
        attempts=attempts,
        input='{"id":"v1"}',
        traceback="Traceback:\n  line",
        input_subject="flow.cats.x",
        input_stream="FLOW_cats",
        input_seq=7,
    ).letter
    text = said(in_full(letter), monkeypatch)
    assert text.splitlines() == [
        "v1_r: timed out: no answer",
        "  node      get (fetch) of flow cats",
        f"  given up  just now ({letter.at}), after 3 deliveries",
        "  worker    two:2",
        "  input     flow.cats.x, message 7 of stream FLOW_cats",
        "  3 attempts, in UTC",
        "    1  2026-01-01 00:00:00        one:1  Retry: no answer",
        "    2  2026-01-01 00:00:02  +2 s  two:2  Retry: no answer",
        "    3  never                      two:2  Retry: gone",
        "  the input",
        "    {",
        '      "id": "v1"',
        "    }",
        "  traceback",
        "    Traceback:",
        "      line",
        "  again: lode dead retry v1_r    off the list: lode dead drop v1_r",
    ]


def test_what_killed_its_workers_has_no_worker_left_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    letter = dead("v1", reason="killed its workers", input="\x1b[31mred").letter
    text = said(in_full(letter), monkeypatch)
    assert "  worker    none lived to say\n" in text
    assert "\x1b" not in text
    assert "attempt" not in text
