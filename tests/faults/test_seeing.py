"""The short form of the kill test of what looks at frames, Triton among them."""

import pytest

from lodestream.local.triton import lacks
from tests.faults.seeing import SHORT, run
from tests.support.servers import missing, program


@pytest.mark.timeout(600)
async def test_whatever_is_killed_the_same_is_said_of_every_frame() -> None:
    program("nats-server")
    if lack := lacks():
        missing(lack)
    figures, wrong = await run(1, *SHORT)
    assert not wrong
    assert figures["kills"] >= 5
