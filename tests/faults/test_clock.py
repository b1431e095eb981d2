"""The short form of `python -m tests.faults.clock`."""

from pathlib import Path

import pytest

from tests.faults.clock import SHORT, run


@pytest.mark.timeout(300)
async def test_order_and_clocks_change_nothing(tmp_path: Path) -> None:
    seen = await run(tmp_path, 1, SHORT)
    assert seen["outputs"] == 17 * SHORT.seeds
    assert seen["handed back"]
    assert seen["offered again"] > seen["outputs"] / 2
