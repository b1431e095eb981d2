"""What commands print: tables for people, plain text for pipes, numbers and times in words."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from lodestream.cli import output, screen, seed, sql, tailing, wording
from lodestream.cli.bench import document, figure
from lodestream.idle import is_idle, left
from lodestream.stages import Stage
from lodestream.status import FlowStatus, NodeStatus
from proto.messages import SeedKind


class Terminal(io.StringIO):
    """A text file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def printed(*parts: object) -> str:
    file = io.StringIO()
    output.show(*parts, file=file)  # type: ignore[arg-type]
    return file.getvalue()


def test_a_pipe_gets_plain_whole_lines() -> None:
    long = "x" * 300
    made = output.table(["name", "count"], [[long, 1234567], [output.Mark("b", "bad"), 0]])
    assert printed(made).splitlines() == [
        f"name{' ' * 296}      count",
        f"{long}  1,234,567",
        f"b{' ' * 299}          0",
    ]


def test_a_terminal_gets_colour_within_its_width(terminal: Terminal) -> None:
    output.show(output.table(["name"], [[output.Mark("x" * 300, "bad")]]), file=terminal)
    assert "\x1b[31m" in terminal.getvalue()
    assert "…" in terminal.getvalue()
    assert max(len(line) for line in terminal.getvalue().splitlines()) < 80


def test_no_color_is_respected(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    output.show(output.table(["name"], [[output.Mark("x", "bad")]]), file=terminal)
    assert "\x1b[31m" not in terminal.getvalue()


def test_a_dumb_terminal_is_a_pipe(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not output.is_terminal(terminal)


def test_what_the_web_says_cannot_drive_the_terminal() -> None:
    evil = "a\x1b]0;owned\x07b\x9b31m[bold]c[/bold] :smile:\r"
    shown = printed(output.table(["title"], [[evil]]), evil)
    assert not set(shown) & set("\x1b\x07\x9b\r")
    assert "[bold]c[/bold] :smile:" in shown


def test_failures_stay_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.fail("first\nsecond\x1b[2J")
    assert capsys.readouterr().err == "lode: first second�[2J\n"


def test_a_failure_quotes_no_more_than_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    output.fail("x" * 10_000)
    assert capsys.readouterr().err == f"lode: {'x' * output.LONGEST}...\n"


def test_heads_that_are_all_empty_take_no_line() -> None:
    assert printed(output.table(["", ""], [["a", None]])) == "a\n"


def test_redrawing_in_a_pipe_is_one_text_after_the_other() -> None:
    file = io.StringIO()
    with output.Redrawn(file) as redrawn:
        redrawn.show("one")
        redrawn.show("two")
    assert file.getvalue() == "one\n\ntwo\n\n"


def test_redrawing_on_a_terminal_replaces(terminal: Terminal) -> None:
    with output.Redrawn(terminal) as redrawn:
        redrawn.show("one")
        redrawn.show("two")
    assert "one" in terminal.getvalue()
    assert "\x1b[2K" in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "just now"), (40, "40 s ago"), (300, "5 min ago"), (7200, "2 h ago"), (900_000, "10 d ago")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    then = datetime.fromtimestamp(now.timestamp() - seconds, UTC)
    assert wording.ago(then.isoformat(), now) == words
    assert wording.ago(then.replace(tzinfo=None).isoformat(), now) == words


def test_a_time_that_is_none_stays_as_it_is() -> None:
    assert wording.ago("yesterday") == "yesterday"


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (3_210_000, "3.21 MB"), (5e13, "50 TB")]
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert wording.size(count) == words


def test_plurals() -> None:
    assert [wording.plural(n, "seed") for n in (0, 1, 1200)] == ["0 seeds", "1 seed", "1,200 seeds"]
    assert wording.plural(2, "delivery", "deliveries") == "2 deliveries"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bytes": 340, "total": 1000}, "34 %"),
        ({"bytes": 1500, "total": None}, "1.5 kB"),
        ({"frames": 12}, "12 frames"),
        ({}, ""),
    ],
)
def test_how_far_a_job_is_in_words(fields: dict[str, object], words: str) -> None:
    assert screen.how_far(fields) == words


def flow(*nodes: NodeStatus, behind: int | None = 0, messages: int = 9) -> FlowStatus:
    return FlowStatus(
        flow="f", at="", nodes=list(nodes), messages=messages, bytes=1, max_bytes=-1, last_seq=9, catalog_behind=behind
    )


def node(**fields: int) -> NodeStatus:
    return NodeStatus(name="get", type="fetch", paused=False, **fields)


def test_idle_means_nothing_is_left_anywhere() -> None:
    assert is_idle(flow(node()))
    assert is_idle(flow(node(), behind=None, messages=0))
    busy = flow(node(waiting=1200, in_flight=4), behind=3)
    assert not is_idle(busy)
    assert left(busy) == "get 1,200 waiting and 4 in flight, catalog 3 behind"
    assert not is_idle(flow(node(), behind=3))
    assert not is_idle(flow(node(), behind=None))


def test_a_flow_s_table_says_what_is_in_the_way() -> None:
    stuck = NodeStatus(name="get", type="fetch", paused=False, waiting=2, dead=1, waits_for="the object store is away")
    shown = printed(screen.flow_table(flow(stuck)))
    assert "waits: the object store is away" in shown
    assert "none" in shown


def test_what_becomes_of_frames_is_one_line_a_node() -> None:
    assert screen.stage(Stage("good", 1200, 700, None, {"blurred": 400, "no prompt over 0.3": 100})) == (
        "  good: 700 of 1,200 frames; 400 blurred, 100 no prompt over 0.3"
    )
    assert screen.stage(Stage("things", 1, 1, 2, {})) == "  things: 2 boxes in 1 of 1 frame"
    many = screen.stage(Stage("good", 100, 0, None, {f"reason {n}": 20 - n for n in range(7)}))
    assert many.endswith("16 reason 4, 29 for 2 other reasons")


def test_seeds_are_lines_without_blanks_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "seeds.txt"
    file.write_bytes("\ufeff# mine\n\nhttps://example.org/ü\r\n  cat jumps \n".encode())
    assert seed.read_lines(("more",), file) == ["https://example.org/ü", "cat jumps", "more"]


def test_options_make_json_of_a_seed() -> None:
    assert seed.payload("cat jumps", {}) == b"cat jumps"
    assert seed.payload("cat jumps", {"limit": 3}) == b'{"value":"cat jumps","limit":3}'
    assert seed.payload('{"value":"x","limit":9}', {"limit": 3}) == b'{"value":"x","limit":3}'
    assert seed.payload("{broken", {"limit": 3}) == b"{broken"


def test_the_kinds_in_the_help_are_those_there_are() -> None:
    assert tuple(seed.KINDS.split(", ")) == get_args(SeedKind)


def test_again_makes_another_round() -> None:
    assert seed.options(None, None, False) == {}
    assert seed.options("feed", 5, True).keys() == {"kind", "limit", "round"}


def test_cells_of_sql_are_exact() -> None:
    assert [sql._text(v) for v in (None, 1234567, 0.1, True, "a,b", [1, {"k": None}])] == [
        "", "1234567", "0.1", "true", "a,b", '[1,{"k":null}]',
    ]  # fmt: skip


def test_wide_rows_do_not_fit_a_narrow_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    heads, rows = ["a", "b", "c"], [["x" * 30] * 3]
    assert output.fits(heads, rows)
    monkeypatch.setattr("sys.stdout", terminal)
    assert not output.fits(heads, rows)
    assert output.fits(heads, [["x"] * 3])


def test_log_lines_are_legible() -> None:
    line = '{"event":"waiting","timestamp":"2026-05-01T12:30:04.5Z","level":"warning","why":"disk full"}'
    assert tailing.legible(line) == "12:30:04 warning waiting  why=disk full"
    assert tailing.legible("[27343] Server is ready") == "[27343] Server is ready"
    assert tailing.legible('{"event":"failed"}') == '{"event":"failed"}'


def test_a_log_is_followed_line_by_line_and_over_its_rotation(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"{n}\n" for n in range(100)))
    lines, end = tailing.last_lines(log, 2)
    assert lines == ["98", "99"]
    with log.open("a") as file:
        file.write("100\nhal")
    lines, end = tailing._since(log, end)
    assert lines == ["100"]
    log.write_text("new\n")
    assert tailing._since(log, end)[0] == ["new"]
    log.unlink()
    assert tailing._since(log, end) == ([], 0)


def test_figures_know_which_way_is_good() -> None:
    speed = figure({"what": "hop", "ratio": 0.9, "target": 0.8})
    cost = figure({"what": "decode", "ratio": 0.9, "target": 0.65, "cost": True, "detail": "9 s"})
    assert (speed.good, cost.good) == (True, False)
    assert (speed.wanted, cost.wanted) == ("at least 0.8", "at most 0.65")
    page = document([speed, cost])
    assert "| decode | 0.900 | at most 0.65 | no | 9 s |" in page
    assert "`./lode bench --write`" in page
    newer = document([figure({"what": "hop", "ratio": 1.2, "target": 0.8})], page)
    assert "| hop | 1.200 |" in newer
    assert "| hop | 0.900 |" not in newer
    assert "| decode | 0.900 | at most 0.65 | no | 9 s |" in newer, "it was not measured again"
