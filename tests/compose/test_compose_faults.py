"""Containers die and hang in the middle of a run, the servers' too: what comes out is what an undisturbed run gives."""

import hashlib
import random
import time

import pytest

from proto import subjects
from tests.compose.project import PATIENCE, SEEING, SERVICES, Project, docker
from tests.compose.test_compose_start import bucket
from tests.compose.videos import EVERY, FRAMES, check_mined, deploy, publish, until_fetched, wait_for

VICTIMS = [name for name in SERVICES if name not in ("records", "triton", *SEEING)]
EACH = 4
"""Videos that are published before each blow."""
NODES = 4
PILE, ROUNDS = 20, 5
"""Videos that wait for extract when it is killed for certain, and how often that is tried."""
HANGS = 60.0
"""Seconds."""
BLOWS, LOOKS_BACK = 4, 3.0
"""How often the house is killed about its start, and seconds within which it has nodes begin again."""
EXTRACT = subjects.durable("extract", 1)


def pictures(project: Project, flow: str) -> dict[str, list[str]]:
    """The digest of every picture of a flow's videos, in order of time, as the object store has it."""
    client, name = bucket(project)
    found: dict[str, list[str]] = {}
    query = f"select media_id, shard_key, byte_offset, byte_length from frames where flow = '{flow}' order by time_ms"
    for row in project.sql(query):
        data = client.get_object(name, row["shard_key"], row["byte_offset"], row["byte_length"]).read()
        found.setdefault(row["media_id"], []).append(hashlib.sha256(data).hexdigest())
    return found


def videos(project: Project, flow: str) -> list[str]:
    """The keys of a flow's videos that the object store has."""
    client, name = bucket(project)
    stored = {found.object_name for found in client.list_objects(name, "media/", recursive=True)}
    keys = [row["object_key"] for row in project.sql(f"select object_key from history.media where flow = '{flow}'")]
    return [key for key in keys if key in stored]


def work_was_lost(stack: Project, made: dict[str, str], number: int) -> bool:
    """Kill extract at work on a pile of videos; whether something had to be handed out again."""
    before = stack.deliveries("kill")
    stack.lode("flow", "pause", "kill", "frames")
    made |= publish(stack, "kill", [f"pile-{number}-{n}.mp4" for n in range(PILE)])
    until_fetched(stack, "kill", len(made))
    stack.lode("flow", "resume", "kill", "frames")
    stack.kill("extract")
    stack.lode("wait", "kill", "--timeout", "150s")
    return stack.deliveries("kill") - before > NODES * PILE


@pytest.mark.timeout(480)
def test_whatever_is_killed_the_outcome_is_that_of_an_undisturbed_run(stack: Project) -> None:
    deploy(stack, "kill")
    made = publish(stack, "kill", ["undisturbed.mp4"])
    stack.lode("wait", "kill", "--timeout", "90s")
    ((_, wanted),) = pictures(stack, "kill").items()
    assert len(wanted) == FRAMES
    stack.hasten("kill")
    draw = random.Random(1)
    for service in VICTIMS:
        made |= publish(stack, "kill", [f"{service}-{n}.mp4" for n in range(EACH)])
        time.sleep(draw.random())
        stack.kill(service)
        stack.until_answering()
    stack.until_healthy()
    stack.lode("wait", "kill", "--timeout", "150s")
    check_mined(stack, "kill", made)
    assert any(work_was_lost(stack, made, number) for number in range(ROUNDS)), "nothing was in hand when it was killed"
    check_mined(stack, "kill", made)
    assert {tuple(got) for got in pictures(stack, "kill").values()} == {tuple(wanted)}


@pytest.mark.timeout(400)
def test_a_house_that_was_killed_has_nodes_begin_again_and_sees_to_what_was_left_to_it(stack: Project) -> None:
    deploy(stack, "house", f"{EVERY}, keep_media: false")
    stack.lode("flow", "pause", "house", "frames")
    made = publish(stack, "house", [f"left-{n}.mp4" for n in range(PILE)])
    until_fetched(stack, "house", PILE)
    house = stack.container("house")
    docker("kill", house)  # a person's wish: the engine leaves it at that
    stack.lode("flow", "resume", "house", "frames")
    stack.lode("wait", "house", "--timeout", "150s")
    check_mined(stack, "house", made)
    before = stack.consumers("house")[EXTRACT]
    assert len(videos(stack, "house")) == PILE, "nobody but the house may remove them"

    docker("start", house)
    stack.until_healthy()
    after = stack.consumers("house")[EXTRACT]
    assert after["created"] != before["created"]
    assert "FLOW_house extract-1" in docker("logs", house).stderr + docker("logs", house).stdout
    stack.lode("wait", "house", "--timeout", "150s")
    assert stack.consumers("house")[EXTRACT]["delivered"]["consumer_seq"] >= PILE, "all was acked while it was dead"

    draw = random.Random(2)
    for blow in range(BLOWS):
        made |= publish(stack, "house", [f"left-{blow}-{n}.mp4" for n in range(EACH)])
        time.sleep(draw.random() * LOOKS_BACK)
        stack.kill("house")
    stack.until_healthy()
    stack.lode("wait", "house", "--timeout", "150s")
    check_mined(stack, "house", made)
    deadline = time.monotonic() + PATIENCE
    while left := videos(stack, "house"):
        assert time.monotonic() < deadline, f"not removed: {left}\n{stack.logs('house')}"
        time.sleep(0.5)


@pytest.mark.timeout(300)
def test_an_object_store_that_hangs_costs_time_and_nothing_else(stack: Project) -> None:
    deploy(stack, "pause")
    made = publish(stack, "pause", [f"pause-before-{n}.mp4" for n in range(EACH)])
    wait_for(stack, "from candidates where flow = 'pause'")
    store = stack.container("minio")
    docker("pause", store)
    try:
        made |= publish(stack, "pause", [f"pause-during-{n}.mp4" for n in range(EACH)])
        time.sleep(HANGS)
    finally:
        docker("unpause", store)
    stack.lode("wait", "pause", "--timeout", "200s")
    check_mined(stack, "pause", made)
