"""From nothing to frames with what a user has: compose, the NATS CLI, an S3 client, DuckDB; and back to nothing."""

import json
import os
import subprocess
from urllib.parse import urlsplit

import duckdb
import pytest
from minio import Minio

from lodestream.catalog.extensions import load_quack
from lodestream.rights import OPERATOR, SEEDER
from proto import subjects
from tests.compose.project import Project, docker
from tests.compose.videos import FRAMES, check_mined, deploy, publish, put
from tests.support.servers import program


def nats(project: Project, user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The ordinary NATS CLI, under one of the stack's users."""
    url, name, password = project.stack().connection(user)
    given = ["--server", url, "--user", name, "--password", password, f"--inbox-prefix=_INBOX_{name}"]
    surroundings = os.environ | {"HOME": str(project.folder)}
    command = [program("nats"), *given, "--timeout", "5s", *arguments]
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)


def bucket(project: Project) -> tuple[Minio, str]:
    """An S3 client outside, and the bucket's name."""
    parts = urlsplit(project.stack().objects())
    where = f"{parts.hostname}:{parts.port}"
    client = Minio(where, parts.username, parts.password, secure=False, region="us-east-1")
    return client, parts.path.strip("/")


def rows_over_quack(project: Project, query: str) -> list[tuple[object, ...]]:
    """What a DuckDB outside reads."""
    door, token = project.stack().quack()
    client = duckdb.connect()
    load_quack(client)
    client.execute(f"create secret (type quack, token '{token}')")
    client.execute(f"attach '{door}' as lode")
    return client.execute(query).fetchall()


def left(project: Project, volumes: set[str]) -> list[str]:
    """What there is of a project: containers, networks, volumes."""
    mine = f"label=com.docker.compose.project={project.name}"
    networks = docker("network", "ls", "-q", "--filter", mine).stdout.split()
    named = docker("volume", "ls", "-q", "--filter", mine).stdout.split()
    there = volumes & set(docker("volume", "ls", "-q").stdout.split())
    return [*project.containers(), *networks, *named, *there]


@pytest.mark.timeout(400)
def test_from_nothing_to_frames_and_back_to_nothing(own: Project) -> None:
    own.up()
    deploy(own, "first")
    made = {"a.mp4": put(own.site, "a.mp4")}
    url = f"http://{own.address()}/a.mp4"
    said = nats(own, SEEDER, "pub", "--jetstream", subjects.seeds("first"), url)
    assert said.returncode == 0, said.stderr
    own.lode("wait", "first", "--timeout", "90s")
    check_mined(own, "first", made)

    client, name = bucket(own)
    (media,) = [found.object_name for found in client.list_objects(name, "media/", recursive=True)]
    (shard,) = [found.object_name for found in client.list_objects(name, "frames/", recursive=True)]
    where = own.sql("select shard_key, byte_offset, byte_length from frames order by time_ms")
    assert {row["shard_key"] for row in where} == {shard}
    for row in where:
        picture = client.get_object(name, str(shard), row["byte_offset"], row["byte_length"]).read()
        assert (len(picture), picture[:2], picture[-2:]) == (row["byte_length"], b"\xff\xd8", b"\xff\xd9")
    assert rows_over_quack(own, "from lode.query('select count(*) from frames')") == [(FRAMES,)]

    volumes, kept = own.volumes(), own.lode("env", "--shell").stdout
    own.down()
    assert own.containers() == []
    own.up()
    assert own.lode("env", "--shell").stdout == kept, "the same secrets and ports"
    assert own.sql("select object_key from media") == [{"object_key": media}]
    deploy(own, "first")
    own.lode("seed", "first", url, "--again")
    made |= publish(own, "first", ["b.mp4"])
    own.lode("wait", "first", "--timeout", "90s")
    check_mined(own, "first", made)

    volumes |= own.volumes()
    own.down("-v")
    assert left(own, volumes) == []


def test_who_publishes_seeds_can_do_no_more(stack: Project) -> None:
    for arguments in (
        ("req", "$JS.API.STREAM.NAMES", ""),
        ("req", subjects.CATALOG_SQL, "from seeds"),
        ("pub", "--jetstream", "flow.x.fetch.get.media.a", "{}"),
        ("sub", "--count=1", "--wait=1s", subjects.EVERY_OUTPUT),
    ):
        said = nats(stack, SEEDER, *arguments)
        assert "permissions violation" in (said.stdout + said.stderr).lower(), arguments
        told = nats(stack, OPERATOR, *arguments)
        assert "permissions violation" not in (told.stdout + told.stderr).lower(), "or the check sees nothing"


def test_the_same_command_line_works_against_it(stack: Project) -> None:
    deploy(stack, "cli")
    (stack.site / "page.mp4").write_text("<!doctype html><title>Sorry</title>")
    publish(stack, "cli", ["one.mp4"])
    stack.lode("seed", "cli", f"http://{stack.address()}/page.mp4")
    stack.lode("wait", "cli", "--timeout", "90s")
    status = json.loads(stack.lode("status", "--json").stdout)
    assert "cli" in {flow["flow"] for flow in status["flows"]}
    assert "house" in stack.lode("status").stdout
    (media,) = stack.sql("select media_id from media where flow = 'cli'")
    assert "frames" in stack.lode("show", media["media_id"]).stdout
    assert "cli" in stack.lode("flow", "ls").stdout
    stack.lode("seed", "nowhere", "https://example.org/x", status=1)
    assert json.loads(stack.lode("dead", "ls", "--json").stdout) == []
    printed = stack.lode("env").stdout
    assert "mc alias set lode" in printed
    assert "attach 'quack:" in printed
    assert stack.sql("select reason from rejects where flow = 'cli'") == [{"reason": "fake"}]
    seen = json.loads(stack.lode("doctor", "--json", "--check-objects").stdout)
    assert [finding for finding in seen if finding["verdict"] == "bad"] == []
    stack.lode("forget", media["media_id"], "--yes")
    assert stack.sql("select media_id from media where flow = 'cli'") == []
    client, name = bucket(stack)
    assert [*client.list_objects(name, f"media/{media['media_id']}/", recursive=True)] == []


def test_no_stack_is_one_line_that_says_what_to_do(stack: Project) -> None:
    nobody = Project("lode-test-nobody", stack.folder / "nobody")
    assert "docker compose up -d" in nobody.lode("status", status=1).stderr
