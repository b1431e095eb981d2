"""What a page says, how a record is known again, and how lines are taken apart."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lodestream import records
from lodestream.cli.seed_lines import LONGEST, Lines, _payload
from lodestream.errors import LodeError
from lodestream.newfile import new_file
from proto import ids
from services.intake.node import read as intake
from services.records.lines import is_lines
from services.records.page import Page, Unclear, read, with_parameter

FIRST = "https://api.example.org/v1/things?per_page=2&sig=a%2Fb"


def page(body: Any, link: str = "") -> Page:
    """A page as it is stored."""
    return Page(url=FIRST, at="", link=link, body=json.dumps(body))


@pytest.mark.parametrize(
    ("body", "items", "found"),
    [
        ([{"a": 1}], "", [{"a": 1}]),
        ({"n": 1, "tags": ["x"], "rows": [{"a": 1}], "more": [{"b": 1}]}, "", [{"a": 1}]),
        ({"rows": []}, "", []),
        ({"rows": [], "more": [{"b": 1}]}, "rows", []),
        ({"a": {"b": {"c": [{"d": 1}, 2]}}}, "a.b.c", [{"d": 1}, 2]),
    ],
)
def test_where_records_are(body: Any, items: str, found: list[Any]) -> None:
    assert [msgspec.json.decode(item) for item in read(page(body), FIRST, items, "", "").items] == found


@pytest.mark.parametrize(
    ("body", "items", "said"),
    [
        ({"error": "no", "code": 3}, "", "no list of records in it; it has the fields error, code"),
        ({"rows": [{}]}, "data.rows", "no list at 'data.rows'; it has the fields rows"),
        ({"rows": 3}, "rows", "no list at 'rows'"),
        ("text", "", "it is no object"),
    ],
)
def test_a_page_without_any_says_what_it_has(body: Any, items: str, said: str) -> None:
    with pytest.raises(Unclear, match=said):
        read(page(body), FIRST, items, "", "")


@pytest.mark.parametrize(
    ("body", "link", "cursor", "param", "following"),
    [
        ({"rows": [], "c": "x/y&z"}, "", "c", "after", f"{FIRST}&after=x%2Fy%26z"),
        ({"rows": [], "m": {"c": 7}}, "", "m.c", "sig", "https://api.example.org/v1/things?per_page=2&sig=7"),
        ({"rows": [], "c": "/v1/things?page=2"}, "", "c", "", "https://api.example.org/v1/things?page=2"),
        ({"rows": [], "c": None}, "", "c", "after", ""),
        ({"rows": [], "c": ""}, "", "c", "after", ""),
        ({"rows": [], "c": True}, "", "c", "after", ""),
        ({"rows": [], "next": "?page=2"}, "", "", "", "https://api.example.org/v1/things?page=2"),
        ({"rows": [], "next": "a word"}, "", "", "", ""),
        ([], "https://api.example.org/p2", "", "", "https://api.example.org/p2"),
    ],
)
def test_what_follows_a_page(body: Any, link: str, cursor: str, param: str, following: str) -> None:
    assert read(page(body, link), FIRST, "", cursor, param).next == following


def test_a_link_that_is_no_url_is_said() -> None:
    with pytest.raises(Unclear, match=r"no URL: 'http://\[x'"):
        read(page({"rows": [], "next": "http://[x"}), FIRST, "", "", "")


def test_a_parameter_takes_the_place_of_the_one_before_and_leaves_the_others_as_they_are() -> None:
    assert with_parameter(f"{FIRST}&c=1", "c", "2") == f"{FIRST}&c=2"
    assert with_parameter("http://x/", "c", "2") == "http://x/?c=2"


def test_files_of_lines_are_known_by_their_names() -> None:
    assert [
        is_lines(u) for u in ("http://x/a.jsonl?t=1", "http://x/a.NDJSON", "http://x/a.json", "http://x/?f=a.jsonl")
    ] == [
        True,
        True,
        False,
        False,
    ]


objects = st.dictionaries(
    st.text(),
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    max_size=6,
)


@given(objects)
def test_content_is_the_identity_however_it_is_spelled(record: dict[str, Any]) -> None:
    spelled = records.compact(json.dumps(record, indent=2).encode())
    turned = records.compact(json.dumps(dict(reversed(record.items())), ensure_ascii=False).encode())
    assert json.loads(spelled) == record
    assert b"\n" not in spelled
    assert records.identity(spelled, "x", "") == records.identity(turned, "y", "")


@given(objects, st.integers() | st.text(min_size=1))
def test_an_own_id_is_the_identity_within_its_collection(record: dict[str, Any], own: int | str) -> None:
    one, other = (json.dumps({"meta": {"id": own}, "n": n, "r": record}).encode() for n in (1, 2))
    ident = records.identity(one, "x", "meta.id")
    assert ids.is_token(ident)
    assert ident == records.identity(other, "x", "meta.id")
    assert ident != records.identity(one, "y", "meta.id")


def test_a_record_without_its_own_id_is_known_by_content() -> None:
    for data in (b'{"n":1}', b'{"id":null,"n":1}', b'{"id":"","n":1}', b'{"id":[1],"n":1}'):
        assert records.identity(data, "x", "id") == records.identity(data, "x", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[1]", "JSON, but no object"),
        (b'{"a": tru}', "invalid character"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
        (b"", "truncated"),
    ],
)
def test_what_is_no_record_is_said_in_words(text: bytes, said: str) -> None:
    with pytest.raises(records.NoRecord, match=said):
        records.compact(text)


def test_numbers_stay_as_they_were_spelled() -> None:
    assert records.compact(b'{"a": 1.500, "b": 12345678901234567890123}') == b'{"a":1.500,"b":12345678901234567890123}'


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.integers(1, 7))
def test_lines_are_the_same_however_they_come(lines: list[bytes], step: int) -> None:
    data, parser, found = b"\n".join(lines), Lines(), []
    for at in range(0, len(data), step):
        found += parser.feed(data[at : at + step])
    found += parser.feed(b"")
    wanted = [line.strip() for line in data.split(b"\n")]
    assert [line for _, line in found] == [
        line.removeprefix(b"\xef\xbb\xbf") if not n else line for n, line in enumerate(wanted)
    ]
    assert [number for number, _ in found] == list(range(1, len(wanted) + 1))


def test_a_line_that_is_too_long_is_left_out_and_the_next_ones_are_not() -> None:
    parser, found = Lines(), []
    for data in (b"a\n", b"x" * LONGEST, b"x" * LONGEST, b"x\nb\n", b""):
        found += parser.feed(data)
    assert found == [(1, b"a"), (2, None), (3, b"b"), (4, b"")]


@given(st.lists(objects, min_size=1, max_size=5), st.integers(1, 10**9))
def test_what_is_sent_is_a_seed_with_the_same_lines(sent: list[dict[str, Any]], first: int) -> None:
    lines = [records.compact(json.dumps(each, ensure_ascii=False).encode()).decode() for each in sent]
    good, bad = intake(_payload("/dev/stdin", first, ["", *lines]))
    assert bad == []
    assert [(seed.kind, seed.lines, seed.first) for seed in good] == [("records", "\n".join(["", *lines]), first)]


def test_a_new_file_is_whole_or_absent_and_takes_nobodys_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    with new_file(tmp_path, ["a", "b"]) as (file, finish):
        file.write(b"new")
        assert finish() == tmp_path / "b"
    with pytest.raises(LodeError, match="not written over"), new_file(tmp_path, ["a", "b"]) as (file, finish):
        finish()
    with new_file(tmp_path, ["c"]) as (file, _):
        file.write(b"half")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"mine", "b": b"new"}
