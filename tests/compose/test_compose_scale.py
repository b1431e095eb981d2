"""More containers of one service are more hands: they split what waits, and double nothing."""

import asyncio
import json

import pytest

from lodestream.bus import connect
from tests.compose.project import PATIENCE, SERVICES, Project
from tests.compose.videos import check_mined, deploy, publish

VIDEOS = 40


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
