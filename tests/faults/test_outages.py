"""The short form of the outages: each part is away for a moment, nothing is given up, all goes on by itself."""

from pathlib import Path

import pytest

from tests.faults.outages import IN_SHORT, OUTAGES, run

TOLD_AT_ONCE = ("objects away", "stream full")
"""What status names within a second; a server that merely hangs takes longer to be noticed."""


@pytest.mark.timeout(240)
async def test_nothing_is_given_up_and_all_goes_on(tmp_path: Path) -> None:
    found = {one["outage"]: one for one in await run(tmp_path, 1, short=True)}
    assert set(found) == set(IN_SHORT)
    for name in TOLD_AT_ONCE:
        assert OUTAGES[name][1] in found[name]["said"]
    assert sum(one["videos"] for one in found.values()) == 40
