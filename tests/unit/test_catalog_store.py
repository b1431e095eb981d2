"""The tables: what messages become in them, once each, and what they say of themselves."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from proto import ids, subjects
from proto.messages import Again, DeadLetter, Message, Rejected, Resolved, Seed, encode
from services.catalog import schema
from services.catalog import store as store_module
from services.catalog.project import Record
from services.catalog.store import Store
from tests.support.catalog import CUT, FETCHED, Output, deployed, media, shard, video

FLOW = subjects.stream("demo")
START = 1_700_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Empty tables that know the streams of one flow and of dead letters."""
    made = Store(tmp_path / "catalog.duckdb")
    for stream in (FLOW, subjects.DEAD):
        made.begin(stream, "2024-01-01")
    yield made
    made.close()


def records(outputs: Iterable[Output], first: int = 1) -> list[Record]:
    """Outputs as the flow's stream would hold them, a second apart."""
    made = []
    for seq, (kind, node, port, message) in enumerate(outputs, first):
        subject = subjects.output("demo", kind, node, port, ids.entity(message.id, message.recipe))
        made.append(Record(FLOW, seq, START + seq * 1_000_000, subject, encode(message)))
    return made


def raw(data: bytes, seq: int, subject: str = "flow.demo.fetch.get.media.a") -> Record:
    """A message with any content."""
    return Record(FLOW, seq, START, subject, data)


def dead(message: Message, seq: int, subject: str) -> Record:
    """A message of stream DEAD."""
    return Record(subjects.DEAD, seq, START, subject, encode(message))


def letter(entity: str, **more: Any) -> DeadLetter:
    """What node `get` could not do."""
    return DeadLetter(
        id=entity, flow="demo", node_type="fetch", node="get", entity=entity, reason="timeout", at="", **more
    )


def ask(store: Store, query: str) -> list[tuple]:
    """The rows of a query."""
    return store.reader().execute(query).fetchall()


def videos(count: int) -> list[Output]:
    """A seed and what came of it."""
    seed = ("intake", "seeds", "seed", Seed(id="seed-1", kind="query", value="cats", limit=5, labels={"a": "b"}))
    return [seed, *(output for number in range(count) for output in video(number))]


def test_rows_say_what_the_messages_said(store: Store) -> None:
    store.apply(records(videos(10)))
    required = (
        "flow, node, media_id, url, source, sha256, bytes, codec, width, height, fps, duration_s, damaged, object_key"
    )
    assert ask(store, f"select {required} from media where media_id = 'example-000003'") == [
        (
            "demo",
            "get",
            "example-000003",
            "https://example.org/example-000003",
            "example.org",
            "0" * 64,
            1000,
            "h264",
            1280,
            720,
            29.97,
            10.5,
            False,
            "media/example-000003/aaaaaaaa-0000000000000000.mp4",
        )
    ]
    assert ask(store, 'select entity, reason, detail, source, epoch_us("at") from rejects') == [
        ("example-000009", "gone", "404", "example.org", START + 30_000_000)
    ]
    assert ask(store, "select seed_id, kind, value, at_most, labels, node, port from seeds") == [
        ("seed-1", "query", "cats", 5, {"a": "b"}, "seeds", "seed")
    ]
    assert ask(store, "select count(*), count(distinct seed_id) from candidates") == [(10, 1)]


def test_frames_one_by_one(store: Store) -> None:
    given = shard("v1", frames=3)
    store.apply(records([("extract", "frames", "shard", given)]))
    where = "flow, node, media_id, shard_key, width, height"
    assert ask(store, f"select distinct {where} from frames") == [("demo", "frames", "v1", given.object_key, 1280, 720)]
    assert ask(store, "select frame_id, time_ms, byte_offset, byte_length from frames order by time_ms") == [
        (ids.frame_id("v1", time), time, offset, length)
        for time, offset, length in zip(given.time_ms, given.offset, given.length, strict=True)
    ]
    assert ask(store, "select frames, damaged from shards") == [(3, False)]


def test_what_was_applied_is_skipped(store: Store, tmp_path: Path) -> None:
    batch = records(videos(10))
    store.apply(batch[:12])
    store.apply(batch[5:20])
    store.apply(batch)
    store.apply(batch)
    store.close()
    again = Store(tmp_path / "catalog.duckdb")
    again.apply(batch)
    assert (again.marks[FLOW].seq, again.marks[FLOW].at) == (len(batch), START + len(batch) * 1_000_000)
    assert ask(again, "select count(*) from history.media union all select count(*) from frames") == [(9,), (90,)]
    assert ask(again, "select sum(messages)::bigint, sum(frames)::bigint from history.counts") == [(len(batch), 90)]
    again.close()


def test_rows_and_watermark_stand_or_fall_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "COUNT", "select error('disk full')")
    with pytest.raises(duckdb.Error):
        store._write(store_module.project(batch := records(videos(3))), batch)
    assert ask(store, "select count(*) from history.candidates") == [(0,)]
    assert store.marks[FLOW].seq == 0
    monkeypatch.undo()
    store.apply(batch)
    assert ask(store, "select count(*) from history.candidates") == [(3,)]


@pytest.mark.parametrize(
    ("data", "subject", "detail"),
    [
        (b"not JSON", "flow.demo.fetch.get.media.a", "malformed"),
        (b'{"type":"media","id":"a"}', "flow.demo.fetch.get.media.a", "url"),
        (b'{"type":"nonsense","id":"a"}', "flow.demo.fetch.get.media.a", "nonsense"),
        (b"\xff\xfe", "flow.demo.fetch.get.media.a", "malformed"),
        (encode(letter("a")), "flow.demo.fetch.get.media.a", "dead"),
        (encode(media("a")), "flow.demo.too.short", "subject"),
    ],
)
def test_a_malformed_message_is_a_dead_row(store: Store, data: bytes, subject: str, detail: str) -> None:
    store.apply([*records(videos(1)), raw(data, 90, subject)])
    assert store.marks[FLOW].seq == 90
    [(reason, said, stream, seq, flow)] = ask(store, "select reason, detail, input_stream, input_seq, flow from dead")
    assert (reason, stream, seq, flow) == ("malformed message", FLOW, 90, "demo")
    assert detail in said
    assert ask(store, "select count(*) from media") == [(1,)]


def test_lists_that_do_not_fit_together_are_malformed(store: Store) -> None:
    given = shard("example-1")
    given.length.pop()
    store.apply(records([("extract", "frames", "shard", given)]))
    assert ask(store, "select reason, node from dead") == [("malformed message", "frames")]
    assert ask(store, "select count(*) from frames") == [(0,)]


def test_text_of_any_kind_is_kept(store: Store) -> None:
    strange = "é \0 \U0001f600 ' \" \\ {x} $1 \u2028"
    said = Rejected(id="a", recipe=FETCHED, reason="gone", detail=strange, source=strange)
    store.apply(records([("fetch", "get", "rejected", said)]))
    assert ask(store, "select detail, source from rejects") == [(strange, strange)]
    assert ask(store, "select source from sources") == [(strange,)]


def test_a_message_that_the_database_refuses_is_put_aside_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    statement, form = store_module.INSERTS["history.media"]
    picky = statement.replace("m.id,", "if(m.id = 'example-000001', error('no'), m.id),", 1)
    monkeypatch.setitem(store_module.INSERTS, "history.media", (picky, form))
    store.apply(records(videos(5)))
    assert ask(store, "select count(*) from media") == [(4,)]
    assert ask(store, "select reason, entity from dead") == [("unstorable message", "example-000001_aaaaaaaa")]
    assert store.marks[FLOW].seq == len(records(videos(5)))


def test_dead_letters_come_and_go(store: Store) -> None:
    one, two = (subjects.dead("demo", "fetch", "get", entity) for entity in "ab")
    source = encode(media("a", "example.com")).decode()
    store.apply([dead(letter("a", input=source), 1, one), dead(letter("b", input="no JSON"), 2, two)])
    assert ask(store, "select entity, reason, source, node_type from dead order by entity") == [
        ("a", "timeout", "example.com", "fetch"),
        ("b", "timeout", None, "fetch"),
    ]
    store.apply([dead(letter("b", deliveries=7), 3, two), dead(Resolved(id="a", how="dropped", at=""), 4, one)])
    assert ask(store, "select entity, deliveries from dead") == [("b", 7)]
    store.apply([dead(Resolved(id="b", how="retried", at=""), 5, two), dead(letter("b"), 6, two)])
    assert ask(store, "select entity, deliveries, seq from dead") == [("b", 0, 6)]
    store.apply([dead(media("b"), 7, two)])
    assert ask(store, "select reason, stream from dead order by seq") == [
        ("timeout", "DEAD"),
        ("malformed message", "DEAD"),
    ]


def test_an_offer_of_a_dead_letter_is_no_output(store: Store) -> None:
    again = Again(id="a", subject="flow.demo.discover.find.candidate.a", input=b"{}")  # type: ignore[arg-type]
    store.apply(records([("fetch", "get", "again", again)]))
    assert ask(store, "select * from dead union all by name select * from history.counts") == []
    assert store.marks[FLOW].seq == 1


def test_progress_and_sources(store: Store) -> None:
    other = [output for number in range(10, 14) for output in video(number, source="example.com")]
    store.set_flows({"demo": deployed("demo")})
    store.apply(records([*videos(10), *other]))
    store.apply([dead(letter("a"), 1, "dead.demo.fetch.get.a")])
    assert ask(store, "select node, node_type, inputs, out, rejected, dead, ports from progress") == [
        ("seeds", "intake", None, 1, 0, 0, {"seed": 1}),
        ("find", "discover", 1, 14, 0, 0, {"candidate": 14}),
        ("get", "fetch", 14, 13, 1, 1, {"media": 13, "rejected": 1}),
        ("frames", "extract", 13, 13, 0, 0, {"shard": 13}),
    ]
    columns = "source, candidates, fetched, rejected, rejected_by_reason, bytes, frames"
    assert ask(store, f"select {columns} from sources") == [
        ("example.com", 4, 4, 0, {}, 4000, 40),
        ("example.org", 10, 9, 1, {"gone": 1}, 9000, 90),
    ]
    assert ask(store, "select seed_id, candidates, fetched, bytes, frames from yields") == [
        ("seed-1", 14, 13, 13_000, 130)
    ]


def test_what_was_made_again_is_shown_once(store: Store) -> None:
    store.set_flows({"demo": deployed("demo")})
    store.apply(records(videos(3)))
    newer = [("extract", "frames", "shard", shard(f"example-00000{n}", frames=5, cut="cccccccc")) for n in range(2)]
    store.set_flows({"demo": deployed("demo", cut="cccccccc")})
    assert ask(store, "select count(*) from frames") == [(0,)]
    store.apply(records(newer, first=100))
    assert ask(store, "select count(*), any_value(recipe) from frames") == [(10, "cccccccc")]
    assert ask(store, "select count(*) from media") == [(3,)]
    assert ask(store, "select out from progress where node = 'frames'") == [(2,)]
    assert ask(store, "select frames from sources") == [(10,)]
    assert ask(store, "select recipe, sum(frames)::int from history.shards group by all order by 1") == [
        (CUT, 30),
        ("cccccccc", 10),
    ]
    store.set_flows({})
    assert ask(store, "select count(*) from frames") == [(40,)]


def test_a_node_that_passes_on_is_no_source(store: Store) -> None:
    flow = deployed("demo")
    flow.nodes["good"] = type(flow.nodes["get"])(
        type="filter",
        slot=1,
        since="",
        wires={subjects.wire("demo", "extract", "frames", "shard"): [CUT]},
        recipes=["d"],
    )
    store.set_flows({"demo": flow})
    kept = shard("example-000000", cut="d")
    store.apply(records([*videos(1), ("filter", "good", "kept", kept)]))
    assert ask(store, "select frames from sources") == [(10,)]
    assert ask(store, "select inputs, out from progress where node = 'good'") == [(1, 1)]


def test_a_stream_that_is_no_more_leaves_nothing(store: Store) -> None:
    store.apply(records(videos(3)))
    store.apply([raw(b"junk", 50)])
    other = subjects.stream("other")
    store.begin(other, "2024")
    store.apply(
        [
            record._replace(stream=other, subject=record.subject.replace("demo", "other"))
            for record in records(videos(2))
        ]
    )
    store.forget(FLOW)
    assert ask(store, "select flow, count(*) from candidates group by all") == [("other", 2)]
    assert ask(store, "select distinct flow from progress union select flow from dead") == [("other",)]
    assert set(store.marks) == {subjects.DEAD, other}


def test_every_table_view_and_column_is_documented(store: Store) -> None:
    places = {
        "duckdb_tables() select schema_name, table_name, ''",
        "duckdb_views() select schema_name, view_name, ''",
        "duckdb_columns() select schema_name, table_name, column_name",
    }
    silent = [
        row for place in places for row in ask(store, f"from {place} where not internal and coalesce(comment, '') = ''")
    ]
    assert silent == []
    names = {name for (name,) in ask(store, "show tables")}
    assert names >= {"seeds", "candidates", "media", "shards", "frames", "rejects", "dead", "progress", "sources"}


def test_a_file_of_another_schema_is_made_anew(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.apply(records(videos(3)))
    store.close()
    monkeypatch.setattr(schema, "version", lambda: "another")
    again = Store(tmp_path / "catalog.duckdb")
    assert again.marks == {}
    assert ask(again, "select count(*) from media") == [(0,)]
    again.close()
    assert Store(tmp_path / "catalog.duckdb").marks == {}
