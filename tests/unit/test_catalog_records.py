"""Records in the tables: their data as they are, counted by source and by seed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proto import subjects
from proto.messages import Listing, Message, Record, Seed, encode
from services.catalog.project import Record as Stored
from services.catalog.store import Store

FLOW = subjects.stream("demo")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Empty tables that know the stream of one flow."""
    made = Store(tmp_path / "catalog.duckdb")
    made.begin(FLOW, "2024-01-01")
    yield made
    made.close()


def record(number: int, data: bytes, **more: Any) -> Record:
    """One record of seed `s`."""
    about = {"seed": "s", "source": "api.example.org", "position": number, **more}
    return Record(id=f"r{number}", data=msgspec.Raw(data), **about)


def stored(seq: int, port: str, message: Message, data: bytes = b"") -> Stored:
    """A message as the flow's stream holds it; `data` in place of what it says."""
    subject = subjects.output("demo", "records", "mine", port, message.id)
    return Stored(FLOW, seq, 1_700_000_000_000_000 + seq, subject, data or encode(message))


def ask(store: Store, query: str) -> list[tuple]:
    """The rows of a query."""
    return store.reader().execute(query).fetchall()


def test_data_can_be_asked_about_as_json(store: Store) -> None:
    odd = {"text": "a\nb \u0000 ✓ 'x'", "n": 1.5, "deep": {"list": [1, {"x": None}]}}
    store.apply([stored(1, "records", record(1, json.dumps(odd).encode())), stored(2, "records", record(2, b"{}"))])
    (found, deep, position), _ = ask(
        store, "select data::varchar, data->>'$.deep.list[0]', position from records order by position"
    )
    assert (json.loads(found), deep, position) == (odd, "1", 1)


def test_a_large_record_is_named_by_its_object(store: Store) -> None:
    store.apply([stored(1, "records", record(1, b"null", object_key="records/data/x.json"))])
    assert ask(store, "select data is null, object_key from records") == [(True, "records/data/x.json")]


def test_records_count_for_their_source_and_for_the_first_seed_that_led_to_them(store: Store) -> None:
    messages = [
        ("seeds", Seed(id="s", kind="records", value="https://api.example.org/x")),
        ("seeds", Seed(id="s2", kind="records", value="https://api.example.org/x", round="2")),
        *(("records", record(n, b'{"n":%d}' % n)) for n in range(1, 6)),
        ("records", record(6, b"{}", seed="s2")),
        ("listings", Listing(id="s", offered=5)),
        ("listings", Listing(id="s2", offered=6)),
    ]
    store.apply([stored(n, *message) for n, message in enumerate(messages, 1)])
    assert ask(store, "select source, records, candidates from sources") == [("api.example.org", 6, 0)]
    assert ask(store, "select seed_id, offered, records from yields order by 1") == [("s", 5, 5), ("s2", 6, 1)]
    assert ask(store, "select ports['records'] from progress where node = 'mine'") == [(6,)]


@pytest.mark.parametrize("data", [b"[1]", b'"x"', b'{"a":"\xff"}', b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_a_message_whose_data_are_no_record_is_a_dead_letter_and_the_rest_goes_on(store: Store, data: bytes) -> None:
    good = record(1, b'{"a":1}')
    bad = encode(record(2, b'{"here":1}')).replace(b'{"here":1}', data)
    store.apply([stored(1, "records", good), stored(2, "records", record(2, b"{}"), bad)])
    assert ask(store, "select record_id from records") == [("r1",)]
    assert len(ask(store, "select reason from dead")) == 1


def test_data_that_were_published_over_several_lines_are_one_row(store: Store) -> None:
    spread = encode(record(1, b'{"here":1}')).replace(b'{"here":1}', b'{\n "a":\n 1}')
    store.apply([stored(1, "records", record(1, b"{}"), spread)])
    assert ask(store, "select data::varchar from records") == [('{"a":1}',)]
