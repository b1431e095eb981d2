"""The short form of `python -m tests.faults.rewire`."""

from pathlib import Path

import pytest

from tests.faults.rewire import SHORT, run


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [3])
async def test_the_end_is_that_of_the_last_flow_run_alone(tmp_path: Path, seed: int) -> None:
    seen = await run(tmp_path, seed, SHORT)
    assert seen["outputs"] > 6 * SHORT.seeds
    assert seen["deploys"] > SHORT.changes / 2
