"""The views that say whether it is worth going on: new videos by the hour, what has run dry, where they were found."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proto import ids, subjects
from proto.messages import Candidate, Listing, Message, Rejected, Seed, encode
from services.catalog.project import Record
from services.catalog.store import Store
from tests.support.catalog import FETCHED, deployed, media, shard

FLOW = subjects.stream("demo")
HOUR = 3_600_000_000
NOON = 1_700_049_600_000_000
"""2023-11-15 12:00 UTC, in microseconds."""


class Told:
    """A catalog that is told one message after the other."""

    def __init__(self, store: Store):
        self.store, self._seq = store, 0

    def hear(self, at: int, kind: str, node: str, port: str, message: Message) -> None:
        """A message that was stored `at`, microseconds."""
        self._seq += 1
        subject = subjects.output("demo", kind, node, port, ids.entity(message.id, message.recipe))
        self.store.apply([Record(FLOW, self._seq, at, subject, encode(message))])

    def new(self, at: int, ident: str, source: str = "example.org") -> None:
        """A video and ten frames of it."""
        self.hear(at, "fetch", "get", "media", media(ident, source))
        self.hear(at, "extract", "frames", "shard", shard(ident, source))

    def refused(self, at: int, ident: str, reason: str, repeats: str = "", source: str = "example.org") -> None:
        """A video that was refused."""
        no = Rejected(id=ident, recipe=FETCHED, reason=reason, source=source, repeats=repeats)
        self.hear(at, "fetch", "get", "rejected", no)

    def looked(self, at: int, ident: str, offered: int, *new: str) -> None:
        """A look at the feed of example.org that offered so many videos, these of them new."""
        self.hear(
            at, "intake", "seeds", "seed", Seed(id=ident, kind="feed", value="https://example.org/f", round=ident)
        )
        for name in new:
            found = Candidate(id=name, url=f"https://example.org/{name}", source="example.org", seed=ident)
            self.hear(at, "discover", "find", "candidate", found)
        self.hear(at, "discover", "find", "listings", Listing(id=ident, offered=offered))

    def ask(self, query: str) -> list[tuple]:
        """The rows of a query."""
        return self.store.reader().execute(query).fetchall()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    """A catalog of flow demo."""
    store = Store(tmp_path / "catalog.duckdb")
    for stream in (FLOW, subjects.DEAD):
        store.begin(stream, "2023-11-15")
    store.set_flows({"demo": deployed("demo")})
    yield Told(store)
    store.close()


def test_yield_by_the_hour(told: Told) -> None:
    told.new(NOON, "a")
    told.new(NOON + HOUR - 1, "b")
    told.refused(NOON + 1, "c", "duplicate", "a")
    told.refused(NOON + 2, "d", "gone")
    told.new(NOON + HOUR, "e")
    asked = "select hour::varchar, source, new_videos, duplicates, rejected, bytes, frames from hourly order by hour"
    assert told.ask(asked) == [
        ("2023-11-15 12:00:00", "example.org", 2, 1, 1, 2000, 20),
        ("2023-11-15 13:00:00", "example.org", 1, 0, 0, 1000, 10),
    ]


def test_a_source_whose_last_twenty_videos_brought_nothing_is_dry(told: Told) -> None:
    told.new(NOON, "a")
    told.new(NOON, "b", "example.com")
    for number in range(19):
        told.refused(NOON + number + 1, f"copy-{number}", "duplicate", "a")
    assert told.ask("from dry") == []
    told.refused(NOON + 30, "copy-19", "gone")
    asked = "select flow, what, name, fruitless, last_new::varchar from dry"
    assert told.ask(asked) == [("demo", "source", "example.org", 20, "2023-11-15 12:00:00")]
    told.new(NOON + 40, "c")
    assert told.ask("from dry") == []


def test_a_seed_that_is_looked_at_again_in_vain_is_dry(told: Told) -> None:
    told.looked(NOON, "one", 3, "a", "b", "c")
    told.looked(NOON + HOUR, "two", 3)
    assert told.ask("from dry") == []
    told.looked(NOON + 2 * HOUR, "three", 3)
    found = told.ask("select what, name, fruitless, last_new::varchar from dry")
    assert found == [("seed", "feed https://example.org/f", 2, "2023-11-15 12:00:00")]
    told.looked(NOON + 3 * HOUR, "four", 4, "d")
    assert told.ask("from dry") == []


def test_one_video_at_two_addresses_has_two_origins(told: Told) -> None:
    told.looked(NOON, "one", 2, "a", "b")
    told.new(NOON, "a")
    told.refused(NOON, "b", "duplicate", "a")
    assert told.ask("select media_id, origin_id, url from origins order by origin_id") == [
        ("a", "a", "https://example.org/a"),
        ("a", "b", "https://example.org/b"),
    ]
