"""Rows of messages that were forgotten: gone from every table, and from what was counted."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from proto import ids, subjects
from proto.messages import DeadLetter, Forgotten, Rejected, Seed, encode
from services.catalog import schema
from services.catalog.project import Record
from services.catalog.store import Store
from tests.support.catalog import Output, video

FLOW = subjects.stream("demo")
START = 1_700_000_000_000_000
GONE = {5, 6, 7, 13}
"""Candidate, medium and shard of a video, and the refusal of another."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = begun(tmp_path / "catalog.duckdb")
    yield made
    made.close()


def begun(file: Path) -> Store:
    made = Store(file)
    for stream in (FLOW, subjects.DEAD):
        made.begin(stream, "2024-01-01")
    return made


def messages() -> list[Record]:
    """A seed, four videos of which one is of another site, a refusal."""
    seed: Output = ("intake", "seeds", "seed", Seed(id="seed-1", kind="query", value="cats"))
    found = [o for n in range(4) for o in video(n, source="other.org" if n == 3 else "example.org")][:11]
    no: Output = (
        "fetch",
        "get",
        "rejected",
        Rejected(id="v-9", reason="fake", source="example.org", recipe="aaaaaaaa"),
    )
    return list(records([seed, *found, no]))


def records(outputs: Iterable[Output]) -> Iterator[Record]:
    for seq, (kind, node, port, message) in enumerate(outputs, 1):
        subject = subjects.output("demo", kind, node, port, ids.entity(message.id, message.recipe))
        yield Record(FLOW, seq, START + seq * 1_000_000, subject, encode(message))


def notice(sequences: Iterable[int], seq: int = 50, stream: str = FLOW) -> Record:
    said = Forgotten(id="notice-1", at="", sequences=sorted(sequences))
    return Record(stream, seq, START, subjects.forgotten(stream, said.id), encode(said))


def tables(store: Store) -> dict[str, list[tuple]]:
    """All that is stored of flows, without the notice itself."""
    names = [name for name in (*schema.OF_FLOWS, "main.dead") if name != "main.forgotten"]
    return {name: sorted(store.reader().execute(f"from {name}").fetchall(), key=repr) for name in names}


def test_what_is_forgotten_leaves_tables_as_if_it_had_never_been(store: Store, tmp_path: Path) -> None:
    store.apply(messages())
    before = tables(store)
    store.apply([notice(GONE)])
    never = begun(tmp_path / "never.duckdb")
    never.apply([record for record in messages() if record.seq not in GONE])
    assert tables(store) == tables(never) != before
    assert store.reader().execute("select flow, messages, seq from forgotten").fetchall() == [("demo", len(GONE), 50)]
    never.close()


def test_a_notice_in_the_same_batch_counts_too(store: Store, tmp_path: Path) -> None:
    store.apply([*messages(), notice(GONE)])
    never = begun(tmp_path / "never.duckdb")
    never.apply([record for record in messages() if record.seq not in GONE])
    assert tables(store) == tables(never)
    never.close()


def test_a_notice_read_again_or_of_what_is_gone_already_changes_nothing(store: Store) -> None:
    store.apply([record for record in messages() if record.seq not in GONE])
    before = tables(store)
    store.apply([notice(GONE, 50), notice(GONE, 51)])
    assert tables(store) == before


def test_a_notice_means_nothing_that_came_after_it(store: Store) -> None:
    store.apply(messages())
    before = tables(store)
    store.apply([notice([60], 50)])
    late = messages()[1]
    store.apply([late._replace(seq=60, subject=late.subject + "x")])
    assert len(tables(store)["history.candidates"]) == len(before["history.candidates"]) + 1


def test_dead_letters_go_as_well(store: Store) -> None:
    def dead(entity: str, seq: int) -> Record:
        said = DeadLetter(id=entity, flow="demo", node_type="fetch", node="get", entity=entity, reason="late", at="")
        return Record(subjects.DEAD, seq, START, subjects.dead("demo", "fetch", "get", entity), encode(said))

    store.apply([dead("a", 1), dead("b", 2), notice([1], 3, subjects.DEAD)])
    assert store.reader().execute("select entity from dead").fetchall() == [("b",)]
