"""More containers of one service are more hands: they split what waits, and double nothing."""

import asyncio
import json
import sys

import pytest

from lodestream.bus import connect
from tests.compose.project import PATIENCE, SERVICES, Project
from tests.compose.videos import ONE_BY_ONE, check_mined, deploy, publish, until_fetched

VIDEOS, BACKLOG = 40, 200
SMALL = 20
"""Frames of a small video, five a second."""


async def _taken(project: Project, service: str, nodes: str) -> list[int]:
    """How many messages of a node each worker of a service has taken."""
    bus = await connect(*project.stack().connection(), patience=PATIENCE)
    inbox = bus.nc.new_inbox()
    answers = await bus.nc.subscribe(inbox)
    await bus.nc.publish(f"$SRV.STATS.{service}", reply=inbox)
    found = []
    try:
        while True:
            said = json.loads((await answers.next_msg(2)).data)
            found.append(sum(e["num_requests"] for e in said["endpoints"] if e["name"] == nodes))
    except TimeoutError:
        await bus.close()
        return found


def scale(project: Project, count: int) -> None:
    """So many containers of extract."""
    project.up("--scale", f"extract={count}", *SERVICES)
    assert len(project.containers("extract")) == count


@pytest.mark.timeout(300)
def test_three_containers_split_a_backlog_and_one_is_left(stack: Project) -> None:
    deploy(stack, "scale")
    stack.lode("flow", "pause", "scale", "frames")
    made = publish(stack, "scale", [f"scale-{n}.mp4" for n in range(VIDEOS)])
    before = stack.volumes()
    scale(stack, 3)
    try:
        stack.lode("flow", "resume", "scale", "frames")
        stack.lode("wait", "scale", "--timeout", "120s")
        taken = asyncio.run(_taken(stack, "extract", "scale-frames"))
        assert sum(taken) == VIDEOS
        assert len([count for count in taken if count]) == 3, taken
        check_mined(stack, "scale", made)
        made |= publish(stack, "scale", [f"scale-more-{n}.mp4" for n in range(10)])
    finally:
        scale(stack, 1)
    stack.lode("wait", "scale", "--timeout", "120s")
    check_mined(stack, "scale", made)
    assert stack.volumes() == before, "more containers share the volumes of the first"


def rate(project: Project, flow: str) -> float:
    """Videos that a flow's extract has finished in a second, from its first to its last."""
    seconds = "epoch(max(at) - min(at))"
    (row,) = project.sql(f"select (count(*) - 1) / {seconds} as rate from history.shards where flow = '{flow}'")
    return float(row["rate"])


@pytest.mark.timeout(480)
def test_three_work_off_a_backlog_faster_than_one(stack: Project) -> None:
    made = {}
    for flow, count in (("alone", 1), ("together", 3)):
        deploy(stack, flow, ONE_BY_ONE)
        stack.lode("flow", "pause", flow, "frames")
        made[flow] = publish(stack, flow, [f"{flow}-{n}.mp4" for n in range(BACKLOG)])
        until_fetched(stack, flow, BACKLOG)
        scale(stack, count)
        stack.lode("flow", "resume", flow, "frames")
        stack.lode("wait", flow, "--timeout", "150s")
        check_mined(stack, flow, made[flow], SMALL)
    taken = asyncio.run(_taken(stack, "extract", "together-frames"))
    scale(stack, 1)
    assert sum(taken) == BACKLOG
    assert min(taken) > BACKLOG // 10, taken
    alone, together = rate(stack, "alone"), rate(stack, "together")
    print(f"{alone:.1f} and {together:.1f} videos/s, ratio {together / alone:.2f}; split {taken}", file=sys.stderr)
    assert together > alone, "on one core more hands are none"
