"""The generated contract says what the messages say, and real messages keep to it."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError

import proto
from proto import subjects
from proto.generate import FOLDER, documents, tag
from proto.messages import (
    KINDS,
    Again,
    Attempt,
    Boxes,
    Candidate,
    DeadLetter,
    Forgotten,
    Kept,
    Listing,
    Media,
    Message,
    Record,
    Rejected,
    Repeat,
    Resolved,
    Scaled,
    Seed,
    Shard,
    Unique,
    chosen,
    decode_any,
    encode,
)

CAUSE = "flow.f.intake.seeds.seeds.s-1"
SHARD = Shard(
    id="web-1_s0000",
    media_id="web-1",
    source="example.org",
    object_key="frames/00000000/web-1/web-1_s0000.tar",
    index=0,
    width=640,
    height=360,
    time_ms=[0, 1000],
    offset=[512, 2048],
    length=[900, 901],
    sampler="every 1s",
)

SAMPLES: list[Message] = [
    Seed(id="s-1", kind="query", value="a cat", limit=3, timeout=60.0, labels={"task": "x"}, round="2"),
    Seed(id="s-2", kind="url", value="https://example.org/a.mp4"),
    Candidate(id="youtube-dQw4w9WgXcQ", url="https://example.org", source="youtube", seed="s-1", duration_s=212.0),
    Listing(id="s-1", offered=12, complete=False, detail="stopped after 60 s", cause=CAUSE),
    Record(
        id="7-1a2b3c4d",
        seed="s-3",
        source="example.org",
        position=7,
        page="records/x/y-0.json",
        data=msgspec.Raw(b'{"n":7}'),
    ),
    Media(
        id="web-1",
        url="https://example.org/a.mp4",
        source="example.org",
        sha256="0" * 64,
        bytes=10,
        container="mp4",
        codec="h264",
        width=640,
        height=360,
        fps=29.97,
        object_key="media/web-1/00000000.mp4",
        recipe="00000000",
    ),
    SHARD,
    Kept(
        id=SHARD.id,
        media_id="web-1",
        source="example.org",
        shard=SHARD,
        kept=[1],
        reason=["dark", ""],
        measures={"sharpness": [None, 41.5]},
        scores={"a red ball": [None, 0.97]},
        model="standin-siglip2",
    ),
    Unique(
        id=SHARD.id,
        media_id="web-1",
        source="example.org",
        shard=SHARD,
        unique=[0],
        repeats=[Repeat(1, "web-1_0", 0.95, "vectors")],
    ),
    Boxes(
        id=SHARD.id,
        media_id="web-1",
        source="example.org",
        shard=SHARD,
        frames=[0],
        boxes=[[(1.0, 2.0, 30.5, 40.0)]],
        labels=[["ball"]],
        scores=[[0.9]],
        model="standin-dfine",
    ),
    Rejected(id="web-2", reason="not found", detail="404", source="example.org", repeats="web-1"),
    DeadLetter(
        id="web-3",
        flow="f",
        node_type="fetch",
        node="get",
        entity="web-3",
        reason="timeout",
        at="2026-01-01T00:00:00Z",
        attempts=[Attempt(at="2026-01-01T00:00:00Z", error="timeout")],
    ),
    Resolved(id="web-3", how="dropped", at="2026-01-01T00:00:00Z"),
    Again(id="web-3", subject=CAUSE, input=msgspec.Raw(b'{"type":"seed"}')),
    Forgotten(id="notice-1", at="2026-01-01T00:00:00Z", sequences=[7, 9]),
    Scaled(id="extract", at="2026-01-01T00:00:00Z", before=1, after=2, waiting=380, in_flight=4, reason="380 wait"),
]


def read(path: str) -> Any:
    """A generated file, as it is in the tree."""
    return json.loads((FOLDER / path).read_text())


def test_what_is_written_is_what_the_messages_say() -> None:
    written = {path: (FOLDER / path).read_text() for path in documents()}
    assert written == documents(), "out of date; run: python -m proto.generate"
    there = {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.json")}
    assert there == set(documents())


def test_every_message_has_a_sample() -> None:
    assert {type(sample) for sample in SAMPLES} == set(KINDS)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{tag(type(sample))} {sample.id}")
def test_messages_keep_to_their_schema_and_survive_the_wire(sample: Message) -> None:
    schema = read(f"schemas/{tag(type(sample))}.json")
    Draft202012Validator.check_schema(schema)
    wire = json.loads(encode(sample))
    Draft202012Validator(schema).validate(wire)
    assert encode(decode_any(encode(sample))) == encode(sample)
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate(wire | {"id": "two words"})
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate(wire | {"type": "other"})


@pytest.mark.parametrize(
    ("wish", "good"),
    [
        ({"value": "a cat"}, True),
        ({"kind": "channel", "value": "https://example.org", "limit": 50, "timeout": "5m", "labels": {"a": "b"}}, True),
        ({"kind": "song", "value": "a cat"}, False),
        ({"kind": "query"}, False),
        ({"value": "a cat", "limit": 0}, False),
    ],
)
def test_what_people_publish(wish: dict[str, Any], good: bool) -> None:
    assert Draft202012Validator(read("schemas/wish.json")).is_valid(wish) == good


def test_asyncapi_names_the_real_subjects_and_nothing_that_is_not_there() -> None:
    document = read("asyncapi.json")
    names = dict.fromkeys(("flow", "type", "node", "port", "entity"), "x")
    addresses = {name: channel["address"].format(**names) for name, channel in document["channels"].items()}
    assert addresses == {
        "seeds": subjects.seeds("x"),
        "outputs": subjects.output("x", "x", "x", "x", "x"),
        "dead": subjects.dead("x", "x", "x", "x"),
        "progress": subjects.progress("x", "x", "x"),
        "scaling": subjects.scaling("x"),
    }
    refs = list(_refs(document))
    assert refs
    for ref in refs:
        assert (FOLDER / ref).exists() if ref.startswith("./") else _at(document, ref), ref
    used = {ref.rpartition("/")[2] for ref in refs if ref.startswith("#/components")}
    assert used == set(document["components"]["messages"])


def _refs(node: Any) -> Any:
    for key, value in node.items() if isinstance(node, dict) else []:
        if key == "$ref":
            yield value
        else:
            yield from _refs(value)


def _at(document: Any, ref: str) -> Any:
    for step in ref.removeprefix("#/").split("/"):
        document = document[step]
    return document


def test_the_contract_imports_nothing_of_ours() -> None:
    for file in Path(proto.__file__).parent.glob("*.py"):
        assert "lodestream" not in [line.split()[1].split(".")[0] for line in _imports(file)], file


def _imports(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line.startswith(("import ", "from "))]


def test_what_goes_on_from_a_message_is_a_shard_and_some_of_its_frames() -> None:
    by_kind = {type(sample): chosen(sample) for sample in SAMPLES if isinstance(sample, Shard | Kept | Unique)}
    assert by_kind == {Shard: (SHARD, [0, 1]), Kept: (SHARD, [1]), Unique: (SHARD, [0])}
