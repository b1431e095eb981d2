"""What filter, dedup and detect say, as people query it: frame by frame, box by box, and counted."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lodestream.catalog.query import as_subquery
from proto import ids, subjects
from proto.messages import Candidate, Forgotten, Kept, Rejected, Seed, encode
from services.catalog.project import Record
from services.catalog.schema import OF_FLOWS
from services.catalog.store import Store
from tests.support.catalog import Output, media, shard
from tests.support.seen import BALL, KEEP, TEXT, kept, one_video, unique
from tests.support.seen_home import seeing

START = 1_700_000_000_000_000


class Told:
    """A catalog that is told one message after the other, of some flows."""

    def __init__(self, folder: Path):
        self.store, self.seq = Store(folder / "catalog.duckdb"), dict[str, int]()

    def hear(self, outputs: Iterable[Output], flow: str = "demo") -> None:
        """Messages of a flow, each a second after the one before."""
        self.store.apply(self.records(outputs, flow))

    def records(self, outputs: Iterable[Output], flow: str = "demo") -> list[Record]:
        """Messages as the flow's stream would hold them."""
        stream, made = subjects.stream(flow), []
        if stream not in self.store.marks:
            self.store.begin(stream, "2024-01-01")
        for kind, node, port, message in outputs:
            subject = subjects.output(flow, kind, node, port, ids.entity(message.id, message.recipe))
            self.seq[flow] = self.seq.get(flow, 0) + 1
            at = START + sum(self.seq.values()) * 1_000_000
            made.append(Record(stream, self.seq[flow], at, subject, encode(message)))
        return made

    def ask(self, query: str) -> list[tuple]:
        """The rows of a query."""
        return self.store.reader().execute(query).fetchall()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path)
    yield made
    made.store.close()


def test_a_filter_frame_by_frame(told: Told) -> None:
    told.hear(one_video())
    asked = "frame_id, kept, reason, score, prompt, sharpness, brightness, contrast"
    assert told.ask(f"select {asked} from judged order by time_ms") == [
        ("v1_0", True, "", 0.9, BALL, 90.0, 100.0, None),
        ("v1_1000", True, "", 0.8, BALL, 90.0, 101.0, None),
        ("v1_2000", True, "", 0.7, BALL, 90.0, 102.0, None),
        ("v1_3000", True, "", 0.6, BALL, 90.0, 103.0, None),
        ("v1_4000", False, "below threshold", 0.1, BALL, 90.0, 104.0, None),
        ("v1_5000", False, "blurred", None, None, 5.0, 105.0, None),
    ]
    assert told.ask(f"select frame_id from kept where scores['{BALL}'] > 0.75 and scores['{TEXT}'] < 0.25") == [
        ("v1_0",),
        ("v1_1000",),
    ]
    assert told.ask("select frame_id, reason, detail, measures['brightness'] from dropped order by all") == [
        ("v1_4000", "below threshold", "below threshold 0.1", 104.0),
        ("v1_5000", "blurred", "blurred None", 105.0),
    ]
    where = "shard_key, byte_offset, byte_length, width, height, source, shard_id, node, port, recipe"
    of = shard("v1", frames=6)
    assert told.ask(f"select {where} from kept where frame_id = 'v1_2000'") == [
        (of.object_key, of.offset[2], of.length[2], 1280, 720, "example.org", of.id, "good", "kept", KEEP)
    ]


def test_a_frame_that_a_filter_was_not_given_is_not_judged(told: Told) -> None:
    told.hear([kept(shard("v1", frames=4), [0.9, 0.9, 0.1, 0.1], given=[1, 2])])
    assert told.ask("select frame_id, kept from judged order by all") == [("v1_1000", True), ("v1_2000", False)]
    assert told.ask("select frames, kept, dropped from kept_shards") == [(2, 1, {"below threshold": 1})]


def test_a_filter_without_prompts_has_no_score(told: Told) -> None:
    [kind, node, port, message] = kept(shard("v1", frames=2), [None, 0.9])
    assert isinstance(message, Kept)
    message.scores, message.model, message.detail = {}, "", []
    told.hear([(kind, node, port, message)])
    asked = "select kept, detail, score, prompt, scores, sharpness from judged order by all"
    assert told.ask(asked) == [(False, "", None, None, {}, 5.0), (True, "", None, None, {}, 90.0)]
    assert told.ask("from prompts") == []


def test_the_best_prompt_is_one_that_speaks_for_a_frame(told: Told) -> None:
    [kind, node, port, message] = kept(shard("v1", frames=4), [0.9, 0.8, 0.1, None])
    assert isinstance(message, Kept)
    message.scores = {TEXT: [1.0, 1.0, 1.0, None], "a cup": [0.2, 0.8, 0.3, None], BALL: [0.9, 0.8, 0.1, None]}
    told.hear([(kind, node, port, message)])
    assert told.ask("select score, prompt from judged order by time_ms") == [
        (0.9, BALL),
        (0.8, "a cup"),
        (0.3, "a cup"),
        (None, None),
    ]


def test_what_is_new_and_what_repeats(told: Told) -> None:
    told.hear(one_video())
    assert told.ask("select frame_id, byte_offset, model from uniques order by time_ms") == [
        ("v1_0", 512, "standin-dinov3"),
        ("v1_2000", 512 + 82_000, "standin-dinov3"),
    ]
    assert told.ask("select frame_id, time_ms, byte_offset, repeats, similarity, method from duplicates") == [
        ("v1_1000", 1000, 512 + 41_000, "v1_0", 0.97, "vectors")
    ]


def test_boxes_one_by_one(told: Told) -> None:
    told.hear(one_video())
    asked = "frame_id, byte_offset, label, score, x1, y1, x2, y2, number, model, model_version"
    assert told.ask(f"select {asked} from boxes order by time_ms, number") == [
        ("v1_0", 512, "ball", 0.9, 0.0, 20.0, 10.0, 40.0, 1, "standin-dfine", "1"),
        ("v1_0", 512, "hand", 0.4, 10.5, 20.0, 20.5, 40.0, 2, "standin-dfine", "1"),
        ("v1_2000", 512 + 82_000, "ball", 0.8, 0.0, 20.0, 10.0, 40.0, 1, "standin-dfine", "1"),
    ]
    assert told.ask("select frames, boxed, boxes, broken from boxed_shards") == [(3, 2, 3, 0)]


def test_yield_by_stage(told: Told) -> None:
    told.store.set_flows({"demo": seeing()})
    told.hear([*one_video(), *one_video("v2")])
    asked = "node, node_type, shards, frames_in, frames, share, boxes, dropped_by_reason"
    assert told.ask(f"select {asked} from stages") == [
        ("frames", "extract", 2, None, 12, None, None, {}),
        ("good", "filter", 2, 12, 8, 0.6667, None, {"below threshold": 2, "blurred": 2}),
        ("new", "dedup", 2, 8, 4, 0.5, None, {"broken": 2, "duplicate": 2}),
        ("things", "detect", 2, 6, 4, 0.6667, 6, {"no box": 2}),
    ]


def test_yield_by_source_and_by_seed(told: Told) -> None:
    told.store.set_flows({"demo": seeing()})
    seed: Output = ("intake", "seeds", "seed", Seed(id="s-1", kind="query", value="balls"))
    led: list[Output] = [
        ("discover", "find", "candidate", Candidate(id=f"v{n}", url=f"u{n}", source=source, seed="s-1"))
        for n, source in ((1, "example.org"), (2, "example.com"))
    ]
    got: list[Output] = [
        ("fetch", "get", "media", media("v1")),
        ("fetch", "get", "media", media("v2", "example.com")),
    ]
    told.hear([seed, *led, *got, *one_video(), *one_video("v2", "example.com")])
    no = Rejected(id="v3_s0000", recipe=KEEP, reason="empty after filter", source="example.org")
    told.hear([("filter", "good", "rejected", no)])
    asked = "frames, kept, uniques, boxed"
    assert told.ask(f"select source, rejected, {asked} from sources") == [
        ("example.com", 0, 6, 4, 2, 2),
        ("example.org", 0, 6, 4, 2, 2),
    ]
    assert told.ask(f"select seed_id, {asked} from yields") == [("s-1", 12, 8, 4, 4)]
    assert told.ask("select sum(rejected)::int from hourly") == [(0,)]


def test_of_two_filters_the_last_counts(told: Told) -> None:
    told.store.set_flows({"demo": seeing(second=True)})
    of = shard("v1", frames=4)
    first, second = kept(of, [0.9, 0.8, 0.7, 0.1]), kept(of, [0.9, 0.8, 0.7, 0.1], least=0.85, recipe="ffffffff")
    told.hear([("extract", "frames", "shard", of), first, ("filter", "better", "kept", second[3])])
    assert told.ask("select kept from sources") == [(1,)]
    assert told.ask("select node, frames from stages") == [("frames", 4), ("good", 3), ("better", 1)]


def test_yield_by_prompt(told: Told) -> None:
    told.hear(one_video())
    asked = "prompt, role, frames, best, kept, lowest, median, highest"
    assert told.ask(f"select {asked} from prompts") == [
        (BALL, "keep", 5, 5, 4, 0.1, 0.7, 0.9),
        (TEXT, "drop", 5, 0, 0, 0.1, 0.3, 0.9),
    ]


def test_what_two_flows_share_was_done_once(told: Told) -> None:
    of = shard("v1", frames=4)
    work: list[Output] = [("fetch", "get", "media", media("v1")), ("extract", "frames", "shard", of)]
    told.hear([*work, kept(of, [0.9, 0.8, 0.1, None])])
    told.hear([*work, kept(of, [0.9, 0.8, None, 0.7], recipe="ffffffff")], "other")
    asked = "select flow, downloads, bytes, extractions, frames, embeddings from saved"
    assert told.ask(asked) == [("demo", 0, 0, 0, 0, 0), ("other", 1, 1000, 1, 4, 2)]
    told.hear([kept(of, [0.9, 0.8, 0.1, 0.3], recipe="00000000")])
    assert told.ask(asked) == [("demo", 0, 0, 0, 0, 4), ("other", 1, 1000, 1, 4, 2)]


def test_other_settings_take_the_place_of_what_was_said(told: Told) -> None:
    told.store.set_flows({"demo": seeing()})
    told.hear(one_video())
    told.store.set_flows({"demo": seeing(keep="ffffffff")})
    assert told.ask("select count(*) from judged") == [(0,)]
    told.hear([kept(shard("v1", frames=6), [0.9] * 6, recipe="ffffffff")])
    assert told.ask("select count(*) from kept") == [(6,)]
    assert told.ask("select recipe, kept from history.kept_shards order by all") == [(KEEP, 4), ("ffffffff", 6)]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda kept, unique, boxes: kept.reason.pop(), "differ in length"),
        (lambda kept, unique, boxes: kept.scores[BALL].pop(), "differ in length"),
        (lambda kept, unique, boxes: kept.kept.append(6), "frame 6 of a shard of 6"),
        (lambda kept, unique, boxes: unique.unique.append(9), "frame 9"),
        (lambda kept, unique, boxes: boxes.labels.pop(), "differ in length"),
        (lambda kept, unique, boxes: boxes.scores[0].pop(), "differ in length"),
        (lambda kept, unique, boxes: boxes.shard.offset.pop(), "differ in length"),
    ],
)
def test_what_does_not_fit_its_shard_is_malformed(told: Told, change: Any, detail: str) -> None:
    outputs = one_video()
    messages = [msgspec.json.decode(encode(message), type=type(message)) for *_, message in outputs]
    change(*messages[1:])
    told.hear((*place, message) for (*place, _), message in zip(outputs, messages, strict=True))  # type: ignore[misc]
    [(reason, said)] = told.ask("select reason, detail from dead")
    assert reason == "malformed message"
    assert detail in said


def test_a_frame_that_was_forgotten_is_named_no_more(told: Told) -> None:
    other = shard("v2", frames=2)
    told.hear([*one_video(), ("extract", "frames", "shard", other), unique(other, [0, 1], {0: ("v1_0", 0.95)})])
    told.hear([unique(shard("v3", frames=2), [0, 1], {1: ("v2_0", 0.99)})])
    told.hear([("operator", "forget", "forgotten", Forgotten(id="notice-1", at="", sequences=[1, 2, 3, 4]))])
    assert told.ask("select frame_id, repeats, similarity from duplicates order by all") == [
        ("v2_0", "", 0.95),
        ("v3_1000", "v2_0", 0.99),
    ]
    assert told.ask("select count(*) from judged") == [(0,)]


def test_what_is_forgotten_leaves_the_counts(told: Told) -> None:
    told.hear(one_video())
    before = {table: told.ask(f"from {table} order by all") for table in OF_FLOWS if table != "main.forgotten"}
    told.hear(one_video("v2"))
    told.hear([("operator", "forget", "forgotten", Forgotten(id="notice-1", at="", sequences=[5, 6, 7, 8]))])
    assert {table: told.ask(f"from {table} order by all") for table in before} == before


def test_every_query_of_the_page_is_right(told: Told) -> None:
    told.store.set_flows({"demo": seeing()})
    told.hear(one_video())
    page = (Path(__file__).parents[2] / "services" / "catalog" / "README.md").read_text()
    blocks = page.split("```sql\n")[1:-1]  # the last is for DuckDB's own prompt
    lines = [line.partition(" -- ")[0] for block in blocks for line in block.partition("```")[0].splitlines()]
    queries = [" ".join(query.split()) for query in "\n".join(lines).split(";") if query.strip()]
    answers = {query: told.ask(as_subquery(query)) for query in queries}
    assert len(answers) > 15
    assert answers["select label, count(*), round(avg(score), 2) as sure from boxes group by label"] == [
        ("ball", 2, 0.85),
        ("hand", 1, 0.4),
    ]
