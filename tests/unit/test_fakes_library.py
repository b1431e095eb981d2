"""The library of fakes: entries, patterns, what is built in, what is unrelated, the library in an object store."""

import base64
import hashlib
import io
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from lodestream.errors import LodeError
from lodestream.fakes import Entry, Library, builtin, lines
from lodestream.fakes.entries import read
from lodestream.fakes.origins import origin, site
from lodestream.fakes.patterns import BadPattern, Pattern, Patterns
from lodestream.fakes.shelf import SUSPECT, Shelf, Sighting
from lodestream.objects import Objects, open_objects
from proto import keys

HASH = "ab" * 32


@pytest.mark.parametrize(
    ("pattern", "url", "fits"),
    [
        ("placehold.co", "https://placehold.co/600x400", True),
        ("placehold.co", "http://cdn.PLACEHOLD.co./x.mp4", True),
        ("placehold.co", "https://user@placehold.co:8443/x", True),
        ("placehold.co", "https://notplacehold.co/x", False),
        ("placehold.co", "https://example.org/placehold.co", False),
        ("https://example.org/Sorry/*", "http://example.org/sorry/a/b.mp4?x=1", True),
        ("example.org/sorry/*", "http://example.org/so%72ry/a.mp4", True),
        ("example.org/sorry/*", "http://example.org/not/sorry/a.mp4", False),
        ("*/sorry.mp4", "https://a.example/sorry.mp4", True),
        ("*/sorry.mp4", "https://a.example/so/sorry.mp4", False),
        ("*/*/sorry.mp4", "https://a.example/so/sorry.mp4", True),
        ("example.org/clip#.mp4", "https://example.org/clip12.mp4", True),
        ("example.org/clip#.mp4", "https://example.org/clip.mp4", False),
        ("?text=Photo #", "https://example.org/a.mp4?w=1&text=Photo+12", True),
        ("?text=Photo+#", "https://example.org/?text=photo%2012", True),
        ("?text=Photo #", "https://example.org/?text=Photo+album", False),
        ("?a=1&b=2", "https://example.org/?b=2&a=1", True),
        ("example.org?a=1&b=2", "https://example.org/x?b=2&c=3&a=1", True),
        ("example.org?a=1&b=2", "https://example.org/x?b=2", False),
        ("127.0.0.1:8000", "http://127.0.0.1:8000/x", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8001/x", False),
        ("127.0.0.1", "http://127.0.0.1:8001/x", True),
        ("[::1]", "http://[::1]:80/x", True),
        ("example.org", "http://[broken", False),
        ("example.org", "https:///nothing", False),
    ],
)
def test_a_pattern_fits(pattern: str, url: str, fits: bool) -> None:
    found = Patterns([pattern]).find(url)
    assert found == (Pattern.read(pattern).text if fits else None)
    assert Pattern.read(Pattern.read(pattern).text).text == Pattern.read(pattern).text


@pytest.mark.parametrize(
    "text", ["", "*", "/*", "*.com", "com", "?a=1", "two words", "a b.com", "?text", "x" * 200, "a\nb.com"]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(BadPattern):
        Pattern.read(text)


ANY = st.one_of(st.text(max_size=300), st.text("ab.*#?=&%/:[]12 +", max_size=60).map(lambda text: f"a.org{text}"))


@given(ANY, ANY)
@example("example.org/a?b=%e9&c=*", "https://example.org/a?c=1&b=\udce9")
@example("a.org/*?x=*", "http://a.org:99999999/?x")
def test_any_text_is_a_pattern_or_refused(text: str, url: str) -> None:
    try:
        pattern = Pattern.read(text)
    except BadPattern:
        return
    assert Pattern.read(pattern.text).text == pattern.text
    assert Patterns([text]).find(url) in (None, pattern.text)
    assert Patterns([text]).find(f"http://{pattern.host or 'a.org'}/{url}") in (None, pattern.text)


def test_no_url_makes_a_pattern_slow() -> None:
    began = time.process_time()
    assert Patterns(["*/" + "*a" * 30 + "*b"]).find("https://example.org/" + "a" * 4000) is None
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "kind", "what"),
    [
        (HASH.upper(), "sha256", HASH),
        ("048213", "size", "48213"),
        ("https://Example.org/x", "url", "example.org/x"),
    ],
)
def test_an_entry_is_what_its_text_says(text: str, kind: str, what: str) -> None:
    entry = read(text, note="a note")
    assert (entry.kind, entry.what, entry.note, entry.fine) == (kind, what, "a note", False)
    assert what in str(entry)
    assert str(entry).endswith("(a note)")


def test_what_is_built_in_can_be_checked() -> None:
    pictures = [base64.b64decode(text) for text in builtin.BYTES.values() if text]
    for data in pictures:
        picture = Image.open(io.BytesIO(data)).convert("RGBA")
        assert picture.size == (1, 1)
        assert picture.getpixel((0, 0))[3] == 0 or picture.getpixel((0, 0)) == (255, 255, 255, 255)
    library = Library()
    for data in (b"", *pictures):
        found = library.content(hashlib.sha256(data).hexdigest(), len(data))
        assert found
        assert found.size == len(data)
    assert all(Pattern.read(pattern).text == pattern for pattern in builtin.PATTERNS)
    for url in ("https://picsum.photos/200", "https://via.placeholder.com/1", "https://x.org/v.mp4?text=Photo+12"):
        assert library.url(url)
    assert library.url("https://example.org/video.mp4?text=a+song") is None


def test_a_library_knows_hashes_sizes_and_exceptions() -> None:
    known = [read(HASH), read("48213"), read("picsum.photos", fine=True), read("cd" * 32, fine=True)]
    library = Library(known)
    assert library.content(HASH, 1) == known[0]
    assert library.content("ef" * 32, 48213) == known[1]
    assert library.content("ef" * 32, 48214) is None
    assert library.content("cd" * 32, 48213) is None
    assert library.fine("cd" * 32)
    assert library.url("https://picsum.photos/1") is None
    assert library.url("https://placehold.co/1")
    assert library.sizes() is None
    assert 48213 in (Library(known[1:]).sizes() or ())


@pytest.mark.parametrize(
    ("one", "other", "related"),
    [
        ("https://example.org/a.mp4", "http://cdn.example.org/a.mp4?token=1", True),
        ("https://example.org/a.mp4", "https://example.org/b.mp4", False),
        ("https://example.org/a.mp4", "https://example.com/a.mp4", False),
        ("https://a.co.uk/a.mp4", "https://b.co.uk/a.mp4", False),
        ("https://example.org/watch?v=1", "https://example.org/watch?v=2", False),
        ("https://example.org/watch/", "https://www.example.org/watch", True),
        ("http://127.0.0.1:1/a.mp4", "http://127.0.0.1:2/a.mp4", False),
        ("file:///a/b.mp4", "file:///a/c.mp4", False),
        ("http://[broken", "http://[broken", True),
    ],
)
def test_related_urls_have_one_origin(one: str, other: str, related: bool) -> None:
    assert (origin(one) == origin(other)) == related


def test_a_site_is_the_registered_domain() -> None:
    urls = ("https://a.b.example.org/x", "https://v.bbc.co.uk/x", "https://tv.de/", "http://10.0.0.1:80/", "file:///a")
    assert [site(url) for url in urls] == ["example.org", "bbc.co.uk", "tv.de", "10.0.0.1:80", ""]


def parsed(*given: str) -> list[Entry]:
    return lines.parse([line.encode() for line in given], "f.jsonl")


def test_what_is_exported_can_be_imported() -> None:
    given = [read(HASH, note="n", size=3), read("?text=photo #"), read("123"), read("picsum.photos", fine=True)]
    assert parsed(*lines.write(given), "") == given


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "f.jsonl:2: "),
        ("[]", "f.jsonl:2: Expected `object`"),
        ('{"kind": "md5", "what": "x"}', "f.jsonl:2: kind is 'md5'"),
        ('{"kind": "sha256", "what": "x"}', "f.jsonl:2: 'x' is no SHA-256"),
        ('{"kind": "size", "what": "-1"}', "f.jsonl:2: '-1' is no size"),
        ('{"kind": "size", "what": "1", "size": 2}', "f.jsonl:2: only a hash has a size"),
        ('{"kind": "url", "what": "*"}', "f.jsonl:2: '*' would fit too much"),
        ('{"kind": "url", "what": "a.org", "colour": 1}', "f.jsonl:2: Object contains unknown field `colour`"),
        ('{"kind": "url", "what": "a.org", "note": "%s"}' % ("x" * 300), "f.jsonl:2: a note is one line"),
        ('{"kind": "url", "what": "%s"}' % ("x" * 5000), "f.jsonl:2: a line of more than 4,096 bytes"),
    ],
)
def test_an_import_names_the_line_that_is_wrong(line: str, said: str) -> None:
    with pytest.raises(LodeError) as caught:
        parsed('{"kind": "url", "what": "example.org"}', line)
    assert str(caught.value).startswith(said)
    assert str(caught.value).endswith("; nothing was imported")


def test_an_import_is_bounded() -> None:
    with pytest.raises(LodeError, match="more than 100,000 lines"):
        lines.parse((b"\n" for _ in range(200_000)), "f.jsonl")
    pieces = list(lines.limited(io.BytesIO(b"x" * 1_000_000)))
    assert max(map(len, pieces)) < 5000


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects((tmp_path / "objects").as_uri())


async def test_entries_are_known_by_one_listing(objects: Objects) -> None:
    shelf = Shelf(objects)
    given = [read(HASH, note="n", size=3), read("48213"), read("?text=photo #", note="m")]
    assert [await shelf.add(entry) for entry in given] == [True, True, True]
    assert await shelf.add(given[0]) is False
    await objects.put(keys.FAKES + "fake.md5.x", b"")
    await objects.put(keys.FAKES + "fake.url.!", b"")
    assert {(e.kind, e.what) for e in await shelf.entries()} == {(e.kind, e.what) for e in given}
    full = {e.what: e for e in await shelf.entries(notes=True)}
    assert (full[HASH].note, full[HASH].size, full[HASH].at[:2]) == ("n", 3, "20")


async def test_what_is_added_is_withdrawn_and_what_would_come_back_is_excepted(objects: Objects) -> None:
    shelf = Shelf(objects)
    assert await shelf.withdraw(read(HASH)) is None
    await shelf.add(read(HASH))
    assert await shelf.withdraw(read(HASH)) == "removed"
    assert await shelf.entries() == []
    assert await shelf.withdraw(read("picsum.photos")) == "excepted"
    assert await shelf.entries() == [read("picsum.photos", fine=True)]
    await shelf.add(read("picsum.photos"))
    assert await shelf.entries() == [read("picsum.photos")]


async def test_suspects_are_excepted_and_their_refusals_forgotten(objects: Objects) -> None:
    shelf = Shelf(objects)
    for n in range(SUSPECT + 1):
        assert await shelf.seen(HASH, f"o{n}", Sighting(f"https://example.org/{n}", f"web-{n}", 7, "2026-01-01"))
    assert not await shelf.seen(HASH, "o1", Sighting("https://example.org/1?x", "web-9", 7, "2026-01-01"))
    [(sha256, sightings)] = (await shelf.sightings()).items()
    suspect = await shelf.suspect(sha256, sightings)
    assert suspect
    assert (suspect.sha256, suspect.size, suspect.origins) == (HASH, 7, SUSPECT + 1)
    assert suspect.samples[0].url == "https://example.org/0"
    memo = keys.memo("fetch", "r", "web-1")
    await objects.put(memo, b"refused")
    await shelf.refused(read(HASH), "r/web-1", memo)
    assert await shelf.withdraw(read(HASH)) == "excepted"
    assert await objects.stat(memo) is None
    assert await shelf.entries() == [read(HASH, fine=True)]
