"""The view `suspects`: files that many URLs of a flow gave."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proto import ids, subjects
from proto.messages import Candidate, Rejected, encode
from services.catalog.project import Record
from services.catalog.store import Store
from tests.support.catalog import FETCHED, Output, media

FLOW = subjects.stream("demo")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "catalog.duckdb")
    made.begin(FLOW, "2024-01-01")
    yield made
    made.close()


def copies(count: int, first: str) -> Iterator[Output]:
    """One video, and so many others with its bytes, of two sites in turn."""
    yield ("fetch", "get", "media", media(first))
    for n in range(count):
        ident, source = f"{first}-{n}", f"{'ab'[n % 2]}.example"
        found = Candidate(id=ident, url=f"https://{source}/{first}/{n}", source=source, seed="s")
        yield ("discover", "find", "candidate", found)
        no = Rejected(id=ident, recipe=FETCHED, reason="duplicate", source=source, repeats=first)
        yield ("fetch", "get", "rejected", no)


def test_what_more_than_three_urls_gave_is_suspected(store: Store) -> None:
    records = []
    for seq, (kind, node, port, said) in enumerate([*copies(2, "often"), *copies(3, "too-often")], 1):
        subject = subjects.output("demo", kind, node, port, ids.entity(said.id, said.recipe))
        records.append(Record(FLOW, seq, 1_700_000_000_000_000 + seq, subject, encode(said)))
    store.apply(records)
    query = "select flow, sha256, bytes, media_id, url, urls, sources from suspects"
    assert store.reader().execute(query).fetchall() == [
        (
            "demo",
            "0" * 64,
            1000,
            "too-often",
            "https://example.org/too-often",
            4,
            ["a.example", "b.example", "example.org"],
        )
    ]
