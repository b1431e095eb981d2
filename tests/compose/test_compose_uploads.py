"""A large video is cut short on its way into the store: it comes whole all the same, and no parts stay behind."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from lodestream.compose import places
from lodestream.objects.s3 import TIMEOUT
from tests.compose.project import PATIENCE, Project, docker
from tests.compose.test_compose_start import bucket
from tests.compose.videos import deploy, put

SIZE = 400 << 20
"""Bytes: some seconds of uploading, in 25 parts."""
PARTS = "find /data/.minio.sys/multipart -name xl.meta"
HANGS = 1.2 * TIMEOUT.read_timeout
"""Seconds: a part on its way is given up."""

pytestmark = pytest.mark.timeout(480)


def parts(project: Project) -> list[str]:
    """What there is of uploads that were not finished."""
    return docker("exec", project.container("minio"), "sh", "-c", PARTS, check=False).stdout.split()


def begin(project: Project, flow: str) -> str:
    """Publish a large video and wait until it is on its way into the store; its SHA-256."""
    deploy(project, flow)
    project.hasten(flow)
    digest = put(project.site, f"{flow}.mp4", padding=SIZE)
    assert parts(project) == []
    project.lode("seed", flow, f"http://{project.address()}/{flow}.mp4")
    deadline = time.monotonic() + PATIENCE
    while not parts(project):
        assert time.monotonic() < deadline, f"no upload has begun\n{project.logs('fetch', 'minio')}"
    return digest


def check_whole(project: Project, flow: str, digest: str) -> None:
    """It was stored once, and what is stored is what the site has."""
    project.lode("wait", flow, "--timeout", "200s")
    (row,) = project.sql(f"select object_key, bytes, sha256 from history.media where flow = '{flow}'")
    client, name = bucket(project)
    assert [found.object_name for found in client.list_objects(name, f"{row['object_key']}")] == [row["object_key"]]
    stored, answer = hashlib.sha256(), client.get_object(name, row["object_key"])
    for chunk in answer.stream(1 << 20):
        stored.update(chunk)
    assert stored.hexdigest() == row["sha256"] == digest
    assert answer.headers["Content-Length"] == str(row["bytes"])
    assert project.sql(f"from dead where flow = '{flow}'") == []
    assert len(project.sql(f"from history.shards where flow = '{flow}'")) == 1


@contextmanager
def sweeping(project: Project) -> Iterator[None]:
    """The store removes what is unfinished for a second, not for a day."""
    read = f"print(__import__('json').dumps(open({str(places.objects_key(places.ROOT))!r}).read().strip()))"
    who = StaticProvider(places.ROOT, project.python("house", read))
    where = bucket(project)[0]._base_url.host
    admin = MinioAdmin(endpoint=where, credentials=who, region="us-east-1", secure=False)
    admin.config_set("api", {"stale_uploads_expiry": "1s", "stale_uploads_cleanup_interval": "1s"})
    try:
        yield
    finally:
        admin.config_reset("api")


def until_swept(project: Project) -> None:
    """Wait until nothing unfinished is left."""
    with sweeping(project):
        deadline = time.monotonic() + PATIENCE
        while left := parts(project):
            assert time.monotonic() < deadline, left
            time.sleep(0.5)


@pytest.mark.parametrize("victim", ["fetch", "minio"])
def test_who_is_killed_in_the_middle_costs_no_byte(stack: Project, victim: str) -> None:
    digest = begin(stack, f"cut-{victim}")
    stack.kill(victim)
    stack.until_healthy()
    left = parts(stack)
    check_whole(stack, f"cut-{victim}", digest)
    assert left or parts(stack), "it was cut short"
    until_swept(stack)


def test_a_store_that_hangs_in_the_middle_costs_no_byte(stack: Project) -> None:
    digest = begin(stack, "cut-hang")
    store = stack.container("minio")
    docker("pause", store)
    try:
        time.sleep(HANGS)
        assert stack.sql("from history.media where flow = 'cut-hang'") == [], "it is not stored yet"
    finally:
        docker("unpause", store)
    check_whole(stack, "cut-hang", digest)
    until_swept(stack)
