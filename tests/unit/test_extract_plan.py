"""What is decoded for the sake of which pictures. A stream is spelled: I clean key, i key, P and B others."""

from array import array

from services.extract.decode import PASS, REFERENCE, START, WHOLE, plan
from services.extract.packets import Look
from services.extract.scan import Scan

LOOKS = {"I": Look.SHOWN | Look.KEY | Look.CLEAN, "i": Look.SHOWN | Look.KEY, "P": Look.SHOWN, "B": Look.SHOWN}
LETTERS = {PASS: ".", REFERENCE: "r", WHOLE: "w", START | REFERENCE: "R", START | WHOLE: "W"}


def fed(stream: str, shown: list[int], wanted: set[int], codec: str = "h264", **how: bool) -> str:
    scan = Scan(codec, bytearray(LOOKS[letter] for letter in stream), array("q", shown))
    return "".join(LETTERS[what] for what in plan(scan, wanted, **how))


def in_order(stream: str) -> list[int]:
    return list(range(len(stream)))


def test_a_group_is_left_after_its_last_wanted_picture() -> None:
    assert fed("IPPPIPPPIPPP", in_order("IPPPIPPPIPPP"), {2, 8}) == "Rrw.....W..."


def test_other_codecs_get_all_that_comes_before() -> None:
    assert fed("IPPPIPPP", in_order("IPPPIPPP"), {6}, codec="hevc") == "....Www."


def test_a_key_that_does_not_separate_is_decoded_through() -> None:
    assert fed("IPPPiPPP", in_order("IPPPiPPP"), {6}) == "Rrrrrrw."


def test_a_wanted_picture_shown_before_its_key_needs_the_group_before() -> None:
    leading = [0, 3, 1, 2, 6, 4, 5, 7]
    assert fed("IPBBIBBP", leading, {5}, codec="mpeg2video") == "Rrrrrw.."
    assert fed("IPBBIBBP", leading, {7}, codec="mpeg2video") == "....Rrrw"


def test_nothing_is_spared_where_it_is_not_asked_for() -> None:
    assert fed("IPPPIPPP", in_order("IPPPIPPP"), {0}, sparse=False) == "Wwwwwwww"
    assert fed("IPPP", in_order("IPPP"), set()) == "...."
