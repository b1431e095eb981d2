"""The short form of the kill test: real processes of one small instance are killed with -9 while it works."""

import pytest

from tests.faults.kill import SHORT, SHORT_ACK_WAIT, run
from tests.faults.strikes import DECK, ON_MINIO, plan
from tests.support.servers import program


@pytest.mark.timeout(600)
async def test_whatever_is_killed_the_outcome_is_that_of_an_undisturbed_run() -> None:
    program("nats-server")
    figures, wrong = await run(1, *SHORT, ack_wait=SHORT_ACK_WAIT)
    assert not wrong
    assert figures["kills"] >= 10, figures
    assert figures["redeliveries at least"] > 0, f"nothing was in hand when it was killed: {figures}"
    assert figures["lost to power cuts, bytes"] > 0, figures


def test_a_seed_plans_the_same_kills() -> None:
    assert plan(5, 100) == plan(5, 100) != plan(6, 100)
    planned = [strike.kind for strike in plan(5, 100)]
    assert {kind: planned.count(kind) for kind in DECK} == DECK
    assert "minio" in {strike.kind for strike in plan(5, 100, ON_MINIO)}
    assert [strike.at for strike in plan(5, 100)] == sorted(strike.at for strike in plan(5, 100))
