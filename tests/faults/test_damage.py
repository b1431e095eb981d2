"""The short form of the damaged media: hand-made classics and a few dozen damaged files, each with a verdict."""

from pathlib import Path

import pytest

from tests.faults.classics import CLASSICS
from tests.faults.damage import HEAVY, SHORT, run


@pytest.mark.timeout(240)
async def test_every_damaged_file_has_a_verdict_and_good_frames_are_kept(tmp_path: Path) -> None:
    seen = await run(tmp_path, 1, SHORT, light=True)
    assert sum(seen.verdicts.values()) == SHORT + len(CLASSICS) - len(HEAVY)
    assert seen.failed == []
    assert seen.frames["equal"] > 5 * (seen.frames["moved"] + seen.frames["altered"])
