"""Records of every source that the node knows, against an API that misbehaves."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lodestream.errors import Malformed, Reject, Retry
from proto.messages import Seed
from services.discover.node import NODE as DISCOVER
from services.records import api as asking
from services.records import paged
from services.records.node import NODE
from tests.support.collecting import API, Collecting, collecting
from tests.support.engine import eventually
from tests.support.paged_api import PagedApi, json_lines, page_of, serve


@pytest.fixture
def api() -> Iterator[PagedApi]:
    with serve() as running:
        yield running


@pytest.fixture
async def node(tmp_path: Path, api: PagedApi) -> AsyncIterator[Collecting]:
    async with collecting(tmp_path, api.address) as running:
        yield running


async def test_every_record_of_every_page_comes_in_order(node: Collecting, api: PagedApi) -> None:
    came = await node.collect(f"{api.base}/news?tag=x", **API)
    assert came.error is None
    assert came.data == api.source()
    assert [each.position for each in came.records] == list(range(1, 51))
    assert came.listing
    assert (came.listing.offered, came.listing.complete) == (50, True)
    assert {each.source for each in came.records} == {api.address}


@pytest.mark.parametrize("path", ["/plain", "/linked"])
async def test_pages_that_follow_the_usual_ways_need_no_settings(node: Collecting, api: PagedApi, path: str) -> None:
    assert (await node.collect(api.base + path)).data == api.source()


async def test_no_page_is_asked_for_twice_whoever_collects_it_again(node: Collecting, api: PagedApi) -> None:
    first = await node.collect(f"{api.base}/news", **API)
    stored = await node.keys()
    again = await node.collect(f"{api.base}/news", **API, seed={"limit": 33})
    assert set(api.asked.values()) == {1}
    assert [each.id for each in again.records] == [each.id for each in first.records][:33]
    assert again.listing
    assert again.listing.detail == "stopped at the limit of 33 records"
    assert await node.keys() == stored


async def test_another_round_asks_again_and_finds_the_same_records_under_the_same_ids(
    node: Collecting, api: PagedApi
) -> None:
    first = await node.collect(f"{api.base}/news", **API)
    api.pages = 6
    again = await node.collect(f"{api.base}/news", **API, seed={"round": "2"})
    assert api.asked["c1"] == 2
    assert [each.id for each in again.records][:50] == [each.id for each in first.records]
    assert len({each.id for each in again.records}) == 60


async def test_what_a_cursor_setting_got_wrong_costs_no_page_again(node: Collecting, api: PagedApi) -> None:
    wrong = await node.collect(f"{api.base}/news", items="data.items")
    assert len(wrong.records) == 10
    right = await node.collect(f"{api.base}/news", **API)
    assert len(right.records) == 50
    assert api.asked["c1"] == 1


async def test_faults_in_between_are_tried_again(
    node: Collecting, api: PagedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking.random, "uniform", lambda low, high: 0.05)
    api.faults |= {"c2": ["500", "503"], "c3": ["429"], "c4": ["cut"], "c5": ["html"]}
    assert (await node.collect(f"{api.base}/news", **API)).data == api.source()
    assert dict(api.asked) == {"c1": 1, "c2": 3, "c3": 2, "c4": 2, "c5": 2}


async def test_a_failure_that_stays_keeps_what_there_is_and_goes_on_from_there(
    node: Collecting, api: PagedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking.random, "uniform", lambda low, high: 0.01)
    api.faults["c3"] = ["500"] * 4
    came = await node.collect(f"{api.base}/news", **API)
    assert isinstance(came.error, Retry)
    assert "20 records of 2 pages are kept" in came.error.detail
    api.faults["c3"] = ["402"]
    came = await node.collect(f"{api.base}/news", **API)
    assert isinstance(came.error, Malformed)
    assert "lode dead retry" in came.error.detail
    assert (await node.collect(f"{api.base}/news", **API)).data == api.source()
    assert dict(api.asked) == {"c1": 1, "c2": 1, "c3": 6, "c4": 1, "c5": 1}


async def test_a_page_that_came_while_the_store_was_away_is_held_and_not_paid_for_again(
    node: Collecting, api: PagedApi, tmp_path: Path
) -> None:
    api.pause = 0.5
    collecting = asyncio.create_task(node.collect(f"{api.base}/news", **API))
    await eventually(lambda: asked(api, "c2"))
    (tmp_path / "objects").rename(tmp_path / "away")

    async def says_so() -> bool:
        return "the object store" in node.parts.troubles

    await eventually(says_so)
    (tmp_path / "away").rename(tmp_path / "objects")
    assert (await collecting).data == api.source()
    assert set(api.asked.values()) == {1}
    assert node.parts.troubles == {}


async def asked(api: PagedApi, cursor: str) -> bool:
    return api.asked[cursor] > 0


async def test_a_page_of_html_is_not_kept_for_a_page_of_records(
    node: Collecting, api: PagedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking.random, "uniform", lambda low, high: 0.01)
    api.faults["c1"] = ["html"] * 2
    came = await node.collect(f"{api.base}/news", **API)
    assert isinstance(came.error, Reject)
    assert came.error.reason == "not JSON"
    assert "text/html" in came.error.detail
    assert await node.keys() == []


async def test_a_cursor_that_leads_back_is_refused_after_its_records(node: Collecting, api: PagedApi) -> None:
    came = await node.collect(f"{api.base}/loop", **API)
    assert len(came.records) == 40
    assert came.listing
    assert not came.listing.complete
    assert isinstance(came.error, Reject)
    assert (came.error.reason, "page 4" in came.error.detail, "'c2'" in came.error.detail) == ("endless", True, True)
    assert set(api.asked.values()) == {1}


async def test_a_cursor_without_an_end_is_bounded(
    node: Collecting, api: PagedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = await node.collect(f"{api.base}/endless", **API, limit=95)
    assert (len(came.records), len(api.asked)) == (95, 10)
    monkeypatch.setattr(paged, "MOST_EMPTY", 7)
    came = await node.collect(f"{api.base}/hollow", **API)
    assert isinstance(came.error, Reject)
    assert "7 pages without a record" in came.error.detail


async def test_a_page_without_records_says_what_it_has_and_is_asked_for_again_later(
    node: Collecting, api: PagedApi
) -> None:
    came = await node.collect(f"{api.base}/nothing")
    assert isinstance(came.error, Malformed)
    assert "the fields error" in came.error.detail
    await node.collect(f"{api.base}/nothing")
    assert api.asked["c1"] == 2
    assert len(await node.keys()) == 2


async def test_what_is_no_object_is_refused_by_itself(node: Collecting, api: PagedApi) -> None:
    came = await node.collect(f"{api.base}/mixed", **API)
    assert (len(came.records), len(came.refused)) == (45, 5)
    assert came.refused[0].part == b'"no object"'
    assert "number 4" in came.refused[0].detail


async def test_a_large_record_is_an_object(node: Collecting, api: PagedApi) -> None:
    api.pages = 1
    large = (await node.collect(f"{api.base}/large", **API)).records[0]
    assert bytes(large.data) == b"null"
    assert b"x" * 300_000 in await node.parts.objects.get(large.object_key)


async def test_only_public_addresses_are_asked(node: Collecting, api: PagedApi) -> None:
    came = await node.collect(f"{api.base}/away", **API)
    assert isinstance(came.error, Reject)
    assert came.error.reason == "forbidden address"
    assert api.headers_next_door == []


async def test_a_key_goes_to_its_site_and_nowhere_else(
    node: Collecting, api: PagedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LODE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home/secrets/api"
    folder.mkdir(parents=True)
    missing = await node.collect(f"{api.base}/news", **API, auth="shop")
    assert isinstance(missing.error, Malformed)
    assert "cannot read" in missing.error.detail
    key = folder / "shop"
    key.write_text(f"Site: {api.base}\nX-Api-Key: open sesame\n")
    key.chmod(0o640)
    loose = await node.collect(f"{api.base}/news", **API, auth="shop")
    assert "chmod 600" in str(loose.error)
    assert not api.headers
    key.chmod(0o600)
    came = await node.collect(f"{api.base}/news", **API, auth="shop")
    assert came.data == api.source()
    assert {headers["X-Api-Key"] for headers in api.headers} == {"open sesame"}
    node.allow.append(api.next_door.removeprefix("http://"))
    await node.collect(f"{api.base}/away", **API, auth="shop")
    await node.collect(f"{api.next_door}/x", auth="shop")
    assert len(api.headers_next_door) == 2
    assert not any("X-Api-Key" in headers for headers in api.headers_next_door)
    key.write_text("X-Api-Key: open sesame\n")
    assert "names no site" in str((await node.collect(f"{api.base}/news?2", **API, auth="shop")).error)
    stored = [await node.parts.objects.get(stored) for stored in await node.keys()]
    assert not any(b"sesame" in data for data in stored)


async def test_a_file_of_lines_on_the_web_is_resumed_where_it_broke_off(
    node: Collecting, api: PagedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking.random, "uniform", lambda low, high: 0.01)
    monkeypatch.setattr("services.records.lines.PART", 2000)
    source = page_of(1, 500)
    api.lines = json_lines(source) + b"{broken\n\n" + json_lines(page_of(501, 1)).rstrip()
    api.cut_at = [7000, 100, 9000]
    came = await node.collect(f"{api.base}/file.jsonl")
    assert came.error is None
    assert came.data == [*source, *page_of(501, 1)]
    assert came.records[-1].position == 503
    assert [refusal.detail.partition(":")[0] for refusal in came.refused] == ["number 501 of http"]
    assert api.served < len(api.lines) + 3 * 4000
    served = api.served
    assert len((await node.collect(f"{api.base}/file.jsonl")).records) == 501
    assert api.served == served


async def test_a_file_that_changed_meanwhile_is_not_mixed_with_what_it_was(
    node: Collecting, api: PagedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking.random, "uniform", lambda low, high: 0.01)
    monkeypatch.setattr("services.records.lines.PART", 2000)
    api.lines, api.cut_at = json_lines(page_of(1, 100)), [5000, 0, 0, 0, 0]
    assert isinstance((await node.collect(f"{api.base}/file.jsonl")).error, Retry)
    api.tag, api.lines, api.cut_at = '"two"', json_lines(page_of(900, 100)), []
    came = await node.collect(f"{api.base}/file.jsonl")
    assert isinstance(came.error, Malformed)
    assert came.error.reason == "changed"


async def test_a_local_file_is_read_line_by_line_where_that_is_allowed(node: Collecting, tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n[1]\n{"a": 2}\n{"a": \xff}\n{ "a" : 1 }')
    forbidden = await node.collect(str(file))
    assert "allow_folders" in str(forbidden.error)
    came = await node.collect(str(file), allow_folders=[str(tmp_path)])
    assert [(each.position, bytes(each.data)) for each in came.records] == [
        (1, b'{"a":1}'),
        (4, b'{"a":2}'),
        (6, b'{"a":1}'),
    ]
    assert came.records[0].id == came.records[2].id
    assert [refusal.detail.partition(" ")[2][0] for refusal in came.refused] == ["3", "5"]
    (tmp_path / "link.jsonl").symlink_to("/etc/hostname")
    outside = await node.collect(str(tmp_path / "link.jsonl"), allow_folders=[str(tmp_path)])
    assert isinstance(outside.error, Reject)


async def test_lines_that_a_seed_brings_keep_their_numbers(node: Collecting) -> None:
    came = await node.collect("/dev/stdin", seed={"lines": '{"n": 7}\n\n{"n": 8}', "first": 12}, id="n")
    assert [each.position for each in came.records] == [12, 14]
    assert [each.id.partition("-")[0] for each in came.records] == ["7", "8"]


async def test_each_node_on_the_wire_leaves_the_others_seeds_alone(node: Collecting) -> None:
    job = node.job()
    for declaration, kind in ((DISCOVER, "records"), (NODE, "query")):
        seed = Seed(id="s", kind=kind, value="/x")  # type: ignore[arg-type]
        assert [output async for output in declaration.handler(seed, job)] == []
