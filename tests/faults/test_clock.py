"""The short form of `python -m tests.faults.clock`."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lodestream.flow.store import load_deployed
from tests.faults.clock import DAY, OTHER, SHORT, SLOW, deploy_by, run
from tests.faults.hands import Hands
from tests.faults.live import FLOW, instance
from tests.support.servers import start_nats


@pytest.mark.timeout(300)
async def test_order_and_clocks_change_nothing(tmp_path: Path) -> None:
    seen = await run(tmp_path, 1, SHORT)
    assert seen["outputs"] == 17 * SHORT.seeds
    assert seen["handed back"]
    assert seen["offered again"] > seen["outputs"] / 2


async def test_a_deploy_is_timed_by_the_clock_of_the_server(tmp_path: Path) -> None:
    with start_nats(tmp_path) as server, Hands(server.url, tmp_path) as hands:
        async with instance(server.url, tmp_path) as bus:
            for ahead in (400 * DAY, -400 * DAY):
                await asyncio.to_thread(deploy_by, hands, SLOW if ahead > 0 else OTHER, ahead)
                record = await load_deployed(bus.nc, FLOW)
                times = [record.at, *record.freed.values(), *(node.since for node in record.nodes.values())]
                assert all(abs(datetime.now(UTC) - datetime.fromisoformat(at)) < timedelta(hours=1) for at in times)
            assert record.freed
