"""Dead letters on a real server: listed, read again, retried once, dropped; a newer one is never lost."""

import base64
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from nats.js import JetStreamContext

from lodestream import deadletters
from lodestream.errors import LodeError
from lodestream.letters import INPUT_KEPT
from proto import subjects
from proto.messages import Again, Candidate, DeadLetter, Resolved, encode
from tests.support.cli import bus_with_streams


@pytest.fixture
async def js(tmp_path: Path) -> AsyncIterator[JetStreamContext]:
    """JetStream with the streams of flow `f`."""
    async with bus_with_streams(tmp_path, "f") as bus:
        yield bus.nc.jetstream()


def candidate(ident: str) -> bytes:
    return encode(Candidate(id=ident, url=f"https://example.org/{ident}", source="example.org", seed="s"))


async def bury(js: JetStreamContext, ident: str, **fields: object) -> str:
    """Publish a dead letter of node `get`, as the engine does; its subject."""
    given = {"node_type": "fetch", "node": "get", "reason": "timed out", "input": candidate(ident).decode(),
             "input_subject": f"flow.f.discover.find.new.{ident}", "entity": f"{ident}_r", **fields}  # fmt: skip
    letter = DeadLetter(id=ident, flow="f", at="2026-01-01T00:00:00Z", **given)  # type: ignore[arg-type]
    subject = subjects.dead("f", letter.node_type, letter.node, letter.entity)
    await js.publish(subject, encode(letter))
    return subject


async def last(js: JetStreamContext, stream: str, subject: str) -> bytes:
    return (await js.get_last_msg(stream, subject)).data or b""


async def test_lists_what_is_unresolved(js: JetStreamContext) -> None:
    for ident in ("a", "b", "c"):
        await bury(js, ident)
    await js.publish("dead.f.fetch.get.junk", b"\xff not a letter")
    listed = await deadletters.unresolved(js, "f")
    assert await deadletters.drop(js, listed[1])
    assert [dead.letter.id for dead in await deadletters.unresolved(js)] == ["a", "c"]
    assert await deadletters.unresolved(js, "other") == []


async def test_nothing_to_list_without_a_stream(js: JetStreamContext) -> None:
    await js.delete_stream(subjects.DEAD)
    assert await deadletters.unresolved(js) == []


async def test_selects_by_id_entity_node_and_reason(js: JetStreamContext) -> None:
    await bury(js, "a")
    await bury(js, "b", reason="No Space")
    await bury(js, "c", node="other")
    listed = await deadletters.unresolved(js)

    def chosen(*names: str) -> list[str]:
        return [dead.letter.id for dead in deadletters.select(listed, names)]

    assert (chosen("a"), chosen("b_r"), chosen("no space"), chosen("get")) == (["a"], ["b"], ["b"], ["a", "b"])
    assert chosen("c", "a") == ["a", "c"]
    with pytest.raises(LodeError, match="'nobody'"):
        chosen("a", "nobody")


async def test_retry_offers_the_input_to_the_same_node(js: JetStreamContext) -> None:
    await bury(js, "a")
    [dead] = await deadletters.unresolved(js)
    assert await deadletters.retry(js, dead)
    assert await deadletters.unresolved(js) == []
    again = msgspec.json.decode(await last(js, "FLOW_f", f"flow.f.fetch.get.again.a_{dead.seq}"), type=Again)
    assert (bytes(again.input), again.subject) == (candidate("a"), "flow.f.discover.find.new.a")
    mark = msgspec.json.decode(await last(js, subjects.DEAD, dead.subject), type=Resolved)
    assert mark.how == "retried"


async def test_retried_twice_at_once_is_offered_once(js: JetStreamContext) -> None:
    await bury(js, "a")
    [dead] = await deadletters.unresolved(js)
    assert [await deadletters.retry(js, dead), await deadletters.retry(js, dead)] == [True, False]
    assert (await js.stream_info("FLOW_f")).state.messages == 1


async def test_a_newer_dead_letter_outlives_the_retry_of_the_older(js: JetStreamContext) -> None:
    await bury(js, "a")
    [older] = await deadletters.unresolved(js)
    await bury(js, "a", reason="failed again")
    assert await deadletters.retry(js, older)
    assert not await deadletters.drop(js, older)
    assert [dead.letter.reason for dead in await deadletters.unresolved(js)] == ["failed again"]


async def test_a_seed_is_published_again_byte_for_byte(js: JetStreamContext) -> None:
    raw = b"\x00\xff binary"
    await bury(js, "s", node_type="intake", node="seeds", input_stream=subjects.SEEDS, input_encoding="base64",
               input=base64.b64encode(raw).decode())  # fmt: skip
    [dead] = await deadletters.unresolved(js)
    assert await deadletters.retry(js, dead)
    assert await last(js, subjects.SEEDS, subjects.seeds("f")) == raw


async def test_a_cut_input_is_read_again_from_its_stream(js: JetStreamContext) -> None:
    whole = random.Random(1).randbytes(100_000)
    published = await js.publish(subjects.seeds("f"), whole)
    await bury(js, "s", input_stream=subjects.SEEDS, input_seq=published.seq, input_encoding="base64",
               input=base64.b64encode(whole[: INPUT_KEPT]).decode())  # fmt: skip
    [dead] = await deadletters.unresolved(js)
    assert await deadletters.input_of(js, dead) == whole


async def test_an_input_that_is_gone_says_what_to_do(js: JetStreamContext) -> None:
    await bury(js, "a", input="", input_stream="FLOW_f", input_seq=77)
    [dead] = await deadletters.unresolved(js)
    with pytest.raises(LodeError, match=r"message 77 of stream FLOW_f.*lode dead drop a_r"):
        await deadletters.retry(js, dead)
    assert len(await deadletters.unresolved(js)) == 1


async def test_an_input_that_is_no_message_is_not_offered(js: JetStreamContext) -> None:
    await bury(js, "a", input="{cut")
    [dead] = await deadletters.unresolved(js)
    with pytest.raises(LodeError, match="no message"):
        await deadletters.retry(js, dead)


async def test_a_retry_that_failed_is_offered_as_what_it_held(js: JetStreamContext) -> None:
    first = Again(id="a", subject="flow.f.discover.find.new.a", input=msgspec.Raw(candidate("a")))
    await bury(js, "a", entity="a_9", input=encode(first).decode(), input_subject="flow.f.fetch.get.again.a_9")
    [dead] = await deadletters.unresolved(js)
    assert await deadletters.retry(js, dead)
    again = msgspec.json.decode(await last(js, "FLOW_f", f"flow.f.fetch.get.again.a_{dead.seq}"), type=Again)
    assert (bytes(again.input), again.subject) == (candidate("a"), first.subject)


async def test_no_retry_where_the_flow_is_gone(js: JetStreamContext) -> None:
    await bury(js, "a")
    await js.delete_stream("FLOW_f")
    [dead] = await deadletters.unresolved(js)
    with pytest.raises(LodeError, match="flow f is not deployed"):
        await deadletters.retry(js, dead)
    assert len(await deadletters.unresolved(js)) == 1
