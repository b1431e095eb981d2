"""Figures of fault tests are printed, and kept in one table a test."""

import json
from pathlib import Path

import pytest

from tests.faults.figures import keep, record


def test_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    keep("kill", 3, {"kills": 100, "seconds": 1.5})
    assert json.loads(capsys.readouterr().out) == {"test": "kill", "seed": 3, "kills": 100, "seconds": 1.5}


def test_a_table_a_test_and_a_row_a_command(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    record("rewire", 2, {"messages": 20_000}, path=path)
    record("kill", 1, {"kills": 1}, path=path)
    record("rewire", 1, {"messages": 5, "why": "a|b"}, path=path)
    record("rewire", 2, {"messages": 20_001}, path=path)
    said = path.read_text()
    assert said.index("## kill") < said.index("## rewire")
    assert [line for line in said[said.index("## rewire") :].splitlines() if line.startswith("|")] == [
        "| seed | messages | why | command |",
        "| --- | --- | --- | --- |",
        "| 1 | 5 | a/b | `python -m tests.faults.rewire --seed 1` |",
        "| 2 | 20,001 |  | `python -m tests.faults.rewire --seed 2` |",
    ]


def test_the_short_form_is_a_command_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    record("clock", 1, {"messages": 9}, path=path)
    record("clock", 1, {"messages": 3}, short=True, path=path)
    assert path.read_text().count("| 1 |") == 2
