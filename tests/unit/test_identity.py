"""One video has one id, however its URL is written; what is no web address is refused in words."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lodestream.web.identity import LONGEST, canonical, identify, tidy
from proto import ids

SAME = [
    ("http://example.com/a", "HTTP://EXAMPLE.com:80/a"),
    ("https://example.com/a", "https://user:secret@example.com:443/a#t=10"),
    ("https://example.com/a", "https://example.com./a?utm_source=x&UTM_MEDIUM=y&fbclid=z"),
    ("https://example.com/", "https://example.com"),
    ("https://example.com/?a=1&b=2", "https://example.com/?b=2&a=1"),
    ("https://example.com/%C3%A9", "https://example.com/é"),
    ("https://xn--bcher-kva.example/", "https://BÜCHER.example/"),
    ("http://[::1]:8000/", "http://[0:0::1]:8000/"),
]
DIFFERENT = [
    ("https://example.com/a", "https://example.com/A"),
    ("https://example.com/a", "https://example.com:8443/a"),
    ("https://example.com/?v=1", "https://example.com/?v=2"),
    ("https://example.com/?ref=1", "https://example.com/?ref=2"),
    ("https://example.com/?source=a", "https://example.com/?source=b"),
]
REFUSED = {
    "": "no http:// or https:// in front",
    "example.com/a.mp4": "no http:// or https:// in front",
    "file:///etc/passwd": "scheme 'file' is not http or https",
    "ftp://example.com/": "scheme 'ftp' is not http or https",
    "data:video/mp4,x": "scheme 'data' is not http or https",
    "http:///a": "without a host",
    "http://:80/": "without a host",
    "http://exa mple.com/": "not the name of a host",
    "http://a..b/": "not the name of a host",
    "http://good.example\\@127.0.0.1/": "not the name of a host",
    "http://%31/": "not the name of a host",
    "http://" + "a." * 127 + "com/": "not the name of a host",
    "http://[fe80::1%25eth0/": "not a URL",
    "http://[zz]/": "not",
    "http://example.com:99999/": "not a number from 1 to 65535",
    "http://example.com:port/": "not a number from 1 to 65535",
    "http://example.com/\x00": "control character",
    "http://example.com/\ud800": "half a character",
    "http://example.com/" + "a" * LONGEST: "letters; at most",
}

urls = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https", "HTTPS", "ftp", ""]),
    st.sampled_from(["example.com", "u:p@example.com.:443", "bücher.example:8000", "[::1]", "", "a\\b"]) | st.text(),
    st.text() | st.text("/?#&=;%.+aAé utm_x:"),
)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_url_are_one_video(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)
    assert identify(one) == identify(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_may_choose_another_video_is_kept(one: str, other: str) -> None:
    assert identify(one).media_id != identify(other).media_id


@pytest.mark.parametrize(("url", "why"), REFUSED.items())
def test_what_is_no_web_address_is_refused_in_words(url: str, why: str) -> None:
    with pytest.raises(ValueError, match="(?s)" + why.replace("(", r"\(")):
        canonical(url)


def test_source_is_the_host_with_an_unusual_port() -> None:
    assert identify("http://Clips.example:80/x").source == "clips.example"
    assert identify("http://127.0.0.1:8000/x").source == "127.0.0.1:8000"


def test_tidy_keeps_what_a_signature_may_cover() -> None:
    signed = "https://cdn.example/v.mp4?b=2&a=1&sig=a%2Bb~*"
    assert tidy(signed.replace("https://", "https://me:pw@") + "&utm_source=x#x") == signed


@given(urls | st.text())
@example("http://a/?&=;&a")
@example("http://a//..//b")
def test_never_anything_but_a_value_error_and_once_is_enough(url: str) -> None:
    try:
        once = canonical(url)
    except ValueError:
        return
    assert canonical(once) == once
    assert tidy(tidy(url)) == tidy(url)
    assert ids.is_token(identify(url).media_id)
