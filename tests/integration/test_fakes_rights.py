"""The library of fakes on S3: a fetch worker, with its own rights only, reads it and notes what it learns."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lodestream.compose.store import of_worker, provision
from lodestream.errors import Outage
from lodestream.fakes.entries import read
from lodestream.fakes.shelf import SUSPECT, Shelf, Sighting
from lodestream.objects import open_objects
from proto import keys
from services.fetch.node import NODE
from tests.support.servers import start_minio

HASH = "ab" * 32


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The store of an administrator; `fetch` is a user of it."""
    with start_minio(tmp_path_factory.mktemp("s3")) as server:
        parts = urlsplit(server.url)
        root = (parts.username or "", parts.password or "")
        provision(f"{parts.hostname}:{parts.port}", root, {"fetch": "fetch-password"}, {"fetch": of_worker(NODE)})
        yield server.url


async def test_a_worker_reads_the_library_and_writes_only_what_it_learns(url: str, tmp_path: Path) -> None:
    people = Shelf(open_objects(url, tmp_path))
    place = urlsplit(url)._replace(netloc=f"fetch:fetch-password@{urlsplit(url).netloc.rpartition('@')[2]}").geturl()
    worker = Shelf(open_objects(place, tmp_path))
    assert await worker.entries() == []
    assert await people.add(read(HASH, note="sorry"))
    assert await people.add(read("?text=sorry*"))
    assert {entry.what for entry in await worker.entries()} == {HASH, "?text=sorry*"}
    assert (await worker.full(read(HASH))).note == "sorry"

    for n in range(SUSPECT + 1):
        assert await worker.seen(HASH, f"o{n}", Sighting("https://example.org/", "web-1", 1, "2026-01-01"))
    assert not await worker.seen(HASH, "o1", Sighting("https://example.org/", "web-1", 1, "2026-01-01"))
    assert len(await worker.origins(HASH, 2)) == 2
    await worker.unseen(HASH, "o0")
    await worker.seen(HASH, "o0", Sighting("https://example.org/", "web-1", 1, "2026-01-01"))
    await worker.refused(read(HASH), "r/web-1", keys.memo("fetch", "r", "web-1"))
    for entry in (read("cd" * 32), read(HASH, fine=True)):
        with pytest.raises(Outage, match="refused with status 403"):
            await worker.add(entry)

    assert [len(found) for found in (await people.sightings()).values()] == [SUSPECT + 1]
    assert await people.withdraw(read(HASH)) == "excepted"
    assert [(e.what, e.fine) for e in await worker.entries() if e.kind == "sha256"] == [(HASH, True)]
