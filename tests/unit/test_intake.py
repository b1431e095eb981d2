"""What people publish becomes seeds, or a refusal that says what was wrong; never anything else."""

from typing import Any, cast

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lodestream.errors import Malformed
from lodestream.job import Job
from proto import ids
from proto.messages import Seed, encode
from services.intake.node import NODE


async def intake(payload: bytes) -> tuple[list[Seed], Job]:
    """The seeds that a payload gives, and the job with what it refused."""
    nothing = cast(Any, None)
    job = Job("f", "seeds", "intake", NODE.settings(), "", "x", "seeds.f", 1, nothing, nothing, raw=payload)
    return [cast(Seed, message) async for port, message in NODE.handler(None, job) if port == "seeds"], job


async def one(payload: bytes) -> Seed:
    """The only seed of a payload."""
    seeds, job = await intake(payload)
    assert not job.refused
    assert len(seeds) == 1
    return seeds[0]


@pytest.mark.parametrize(
    ("payload", "kind", "value"),
    [
        ("handstand tutorial", "query", "handstand tutorial"),
        ("  two   words \r\n", "query", "two words"),
        ("and/or", "query", "and/or"),
        ('"exact phrase" rings', "query", '"exact phrase" rings'),
        ("[official] handstand", "query", "[official] handstand"),
        ("tutorial: how to", "query", "tutorial: how to"),
        ("channel surfing", "query", "channel surfing"),
        ("\ufeff倒立 の 練習", "query", "倒立 の 練習"),
        ("query: https", "query", "https"),
        ("https://example.com/v?id=1#t", "url", "https://example.com/v?id=1#t"),
        ('"https://example.com/v"', "url", "https://example.com/v"),
        ("www.example.com", "url", "https://www.example.com"),
        ("example.com/clip.mp4", "url", "https://example.com/clip.mp4"),
        ("127.0.0.1:8000/page", "url", "http://127.0.0.1:8000/page"),
        ("https://example.com/feed.xml", "feed", "https://example.com/feed.xml"),
        ("https://www.youtube.com/feeds/videos.xml?channel_id=x", "feed", None),
        ("https://example.com/feed/42", "url", None),
        ("channel https://example.com/@me", "channel", "https://example.com/@me"),
        ("Playlist: example.com/p/1", "playlist", "https://example.com/p/1"),
        ("/data/my videos", "folder", "/data/my videos"),
        ("file:///data/my%20videos", "folder", "/data/my videos"),
        ("/data/urls.txt", "list", "/data/urls.txt"),
        ('{"value": "x"}', "query", "x"),
        ('{"url": "https://example.com/"}', "url", "https://example.com/"),
        ('{"kind": "channel", "url": "https://example.com/"}', "channel", "https://example.com/"),
        ('{"kind": "query", "value": "https"}', "query", "https"),
        ('{"kind": null, "value": "x", "limit": null}', "query", "x"),
        ('{\n  "value": "x"\n}', "query", "x"),
    ],
)
async def test_anything_sensible_is_a_seed(payload: str, kind: str, value: str | None) -> None:
    seed = await one(payload.encode())
    assert (seed.kind, seed.value) == (kind, value or payload)


async def test_all_that_json_can_say() -> None:
    seed = await one(b'{"query": "x", "limit": 5, "timeout": "2m", "labels": {"task": "a"}, "round": "2"}')
    assert (seed.limit, seed.timeout, seed.labels, seed.round) == (5, 120.0, {"task": "a"}, "2")


@pytest.mark.parametrize(
    ("payload", "reason", "said"),
    [
        (b"", "empty", "a seed is"),
        (b"# only this\n\n", "empty", "comments"),
        (b"[]", "empty", "a seed is"),
        (b"x" * (2 << 20), "too long", "seed is 2.1 MB; at most 256 KiB"),
        (b"x\n" * 10_001, "too long", "10001 seeds in one message; at most 10000"),
        (b"\x89PNG\r\n\x1a\n", "not text", "byte 0 (0x89) is not UTF-8"),
        (b"ab\x00c", "not text", "U+0000 at letter 2"),
        (b"<html></html>", "markup", "begins with '<html>"),
        (b"{kind: query}", "not JSON", "byte 1"),
        (b'{"kind": "query",\n "value" "x"}', "not JSON", "expected ':'"),
        (b"[" * 9, "not JSON", "truncated"),
        (b'{"a":' * 20_000, "not JSON", "nested too deeply"),
        (b"null", "not a seed", "null alone"),
        (b"[5]", "not a seed", "item 1: 5 alone"),
        (b"kind: query", "not a seed", "a seed in JSON"),
        (b'{"kind": "query", "valu": "x"}', "unknown field", "'valu', did you mean 'value'?"),
        (b'{"kind": "chanel", "value": "x"}', "unknown kind", "'chanel', did you mean 'channel'? allowed: query, url"),
        (b"chanel: https://example.com/", "unknown kind", "did you mean 'channel'?"),
        (b"{}", "bad field", "value: missing"),
        (b'{"value": 5}', "bad field", "value: 5; wanted: text"),
        (b'{"value": "x", "kind": 5}', "bad field", "kind: 5; wanted: text"),
        (b'{"value": "x", "query": "y"}', "bad field", "query and value together"),
        (b'{"kind": "feed", "query": "y"}', "bad field", "contradict"),
        (b'{"value": "x", "limit": "ten"}', "bad field", 'limit: "ten"; wanted: a whole number from 1 to 100000'),
        (b'{"value": "x", "limit": 0}', "bad field", "limit: 0"),
        (b'{"value": "x", "limit": true}', "bad field", "limit: true"),
        (b'{"value": "x", "timeout": "soon"}', "bad field", "timeout: 'soon' is not a duration"),
        (b'{"value": "x", "timeout": -1}', "bad field", "timeout: -1"),
        (b'{"value": "x", "labels": {"a": 1}}', "bad field", 'labels: {"a":1}'),
        (b'{"value": "x", "round": "a\\nb"}', "bad field", "round: "),
        (b'{"url": "two words"}', "bad value", "a url seed wants an http or https URL"),
        (b'{"channel": "@me"}', "bad value", "a channel seed wants an http or https URL"),
        (b'{"folder": "here"}', "bad value", "not an absolute path"),
        (b'{"folder": "file://elsewhere/x"}', "bad value", "on another host"),
        (b'{"query": "a\\u0000"}', "bad value", "U+0000"),
        (b'{"query": " "}', "bad value", "empty"),
        (b"!?", "bad value", "no letter or digit"),
        (b"x" * 301, "bad value", "301 letters, at most 300"),
        (b"look at https://example.com/", "bad value", "a URL among words"),
        (b"https://exa mple.com/", "bad value", "with a space in it"),
        (b"ftp://example.com/", "bad value", "scheme 'ftp'"),
        (b"http://example.com:port/", "bad value", "port"),
    ],
)
async def test_what_is_no_seed_is_refused_in_words(payload: bytes, reason: str, said: str) -> None:
    with pytest.raises(Malformed) as refused:
        await intake(payload)
    assert refused.value.reason == reason
    assert said in refused.value.detail
    assert "\n" not in refused.value.detail


async def test_a_file_of_lines_gives_its_good_lines_and_names_its_bad_ones() -> None:
    lines = ["# seeds", "handstand", "", "http://[bad", '{"query": "rings", "limit": 3}', '{"query": 3}', "/data"]
    seeds, job = await intake("\r\n".join(lines).encode())
    assert [(s.kind, s.value) for s in seeds] == [("query", "handstand"), ("query", "rings"), ("folder", "/data")]
    assert [r.detail.partition(":")[0] for r in job.refused] == ["line 4", "line 6"]
    assert [r.part for r in job.refused] == [b"http://[bad", b'{"query": 3}']
    assert all(ids.is_token(r.entity) for r in job.refused)


async def test_json_lines_whose_first_is_broken_are_lines() -> None:
    seeds, job = await intake(b'{"query" "a"}\n{"query": "b"}\n')
    assert [s.value for s in seeds] == ["b"]
    assert "line 1" in job.refused[0].detail


async def test_an_array_of_objects_and_strings() -> None:
    seeds, job = await intake(b'["a", {"url": "https://example.com/"}, {"url": 1}]')
    assert [s.kind for s in seeds] == ["query", "url"]
    assert "item 3" in job.refused[0].detail


async def test_when_no_line_is_a_seed_the_whole_is_refused_once() -> None:
    with pytest.raises(Malformed, match=r"none of 500 lines is one: line 1: .*; line 2: .*; line 3: "):
        await intake(b"!!!\n" * 500)


@pytest.mark.parametrize(
    ("one_way", "other_way"),
    [
        (b"Handstand  Tutorial", b'{"query": "handstand tutorial", "labels": {"a": "b"}, "timeout": 5}'),
        (b"https://example.com/v?a=1&b=2", b'{"url": "https://EXAMPLE.com:443/v?b=2&a=1&utm_source=x#t"}'),
        (b"/data", b"file:///data"),
    ],
)
async def test_the_same_seed_has_the_same_id(one_way: bytes, other_way: bytes) -> None:
    assert (await one(one_way)).id == (await one(other_way)).id


async def test_what_asks_for_something_else_is_another_seed() -> None:
    others = [b"x", b"y", b'{"query": "x", "round": "2"}', b'{"query": "x", "limit": 5}', b"https://x.example/x"]
    assert len({(await one(payload)).id for payload in others}) == len(others)


async def test_a_seed_may_bring_its_records_itself() -> None:
    seed = await one(b'{"kind": "records", "value": "/dev/stdin", "lines": "{\\"a\\": 1.0}\\n\\n{}", "first": 8}')
    assert (seed.kind, seed.value, seed.lines, seed.first) == ("records", "/dev/stdin", '{"a": 1.0}\n\n{}', 8)
    other = await one(b'{"kind": "records", "value": "/dev/stdin", "lines": "{}"}')
    assert seed.id != other.id != (await one(b"records: /dev/stdin")).id


async def test_only_records_have_lines() -> None:
    with pytest.raises(Malformed, match="only records have lines"):
        await intake(b'{"url": "https://example.com/", "lines": "{}"}')
    with pytest.raises(Malformed, match="first"):
        await intake(b'{"records": "/x", "lines": "{}", "first": 0}')


async def test_ids_can_be_read() -> None:
    assert (await one(b"Handstand tutorial!")).id.startswith("query-handstand-tutorial-")
    assert (await one(b"https://www.example.com/v")).id.startswith("url-example-com-v-")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["kind", "value", "url", "limit", "x"]), inner),
    max_leaves=8,
)
lines = st.lists(st.text() | st.sampled_from(["http://[", "{", '{"value":"x"}', '"', "file:", "a: b", "[1", "\ud800"]))


async def survives(payload: bytes) -> None:
    """Seeds or a refusal, nothing else."""
    try:
        seeds, _ = await intake(payload)
    except Malformed:
        return
    assert all(ids.is_token(seed.id) and encode(seed) for seed in seeds)


@given(st.binary() | lines.map(lambda found: "\n".join(found).encode(errors="surrogatepass")))
@example(b"file://[")
@example(b'{"value":"\\ud800"}')
@example(b'{"labels":{"":"","value":"x"}}')
async def test_no_bytes_do_anything_but_seed_or_be_refused(payload: bytes) -> None:
    await survives(payload)


@given(json_values)
async def test_no_json_does_anything_but_seed_or_be_refused(value: Any) -> None:
    await survives(msgspec.json.encode(value))
