"""The object store as services use it, on the MinIO server of the stack."""

import asyncio
import hashlib

import pytest

from lodestream.objects import open_objects
from lodestream.objects.s3 import PART
from tests.compose.project import Project
from tests.compose.test_compose_start import bucket
from tests.compose.videos import deploy, put


@pytest.mark.timeout(200)
def test_a_large_video_goes_in_parts_and_is_whole(stack: Project) -> None:
    deploy(stack, "large")
    digest = put(stack.site, "large.mp4", padding=PART + (5 << 20))
    stack.lode("seed", "large", f"http://{stack.address()}/large.mp4")
    stack.lode("wait", "large", "--timeout", "150s")
    (row,) = stack.sql("select object_key, bytes, sha256 from media where flow = 'large'")
    assert row["sha256"] == digest
    client, name = bucket(stack)
    found = client.stat_object(name, row["object_key"])
    assert found.size == row["bytes"] > PART
    assert str(found.etag).strip('"').endswith("-2"), "two parts"
    stored = client.get_object(name, row["object_key"]).read()
    assert hashlib.sha256(stored).hexdigest() == digest


async def test_reads_by_range(stack: Project) -> None:
    store, key = open_objects(stack.stack().objects()), "media/range-test/x"
    data = bytes(range(256)) * 4
    await store.put(key, data)
    for offset, length in ((0, 1), (1000, 24), (1000, 1000), (2000, 10), (5, 0)):
        assert await store.get(key, offset, length) == data[offset : offset + length]
    await store.delete(key)


async def test_who_is_first_is_decided_by_the_server(stack: Project) -> None:
    store, key = open_objects(stack.stack().objects()), "media/create-test/x"
    won = await asyncio.gather(*(store.create(key, b"%d" % n) for n in range(16)))
    assert sum(won) == 1
    assert await store.get(key) == b"%d" % won.index(True)
    await store.delete(key)


def test_provisioning_again_changes_nothing(stack: Project) -> None:
    before = stack.lode("env", "--shell").stdout
    stack.compose("restart", "house")
    stack.until_healthy()
    assert stack.lode("env", "--shell").stdout == before
    assert "refuses" not in stack.logs("house")
