"""The short form of the fuzz: some hundred malformed seeds, messages, flow files and command lines."""

from pathlib import Path

import pytest

from tests.faults import fuzz

KINDS = ["seeds", "messages", "flow files", "command lines"]


@pytest.mark.timeout(240)
def test_whatever_is_malformed_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    found = fuzz.run(tmp_path, 1, fuzz.SHORT)
    for kind in KINDS:
        assert found[f"{kind} refused"] > 3 * found[f"{kind} taken"], kind
    assert found["dead letters"] > found["through workers"] / 2
