"""Packs: what goes in comes out, several become one, damage is noticed, what is struck out is gone."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lodestream.ledger.log import Range, _chain
from lodestream.ledger.pack import TIMES, Broken, Judged, Pack, Verdict, merged, packed, read_verdict, unpacked
from lodestream.ledger.strike import struck
from proto.messages import Repeat

ROW = 16


def verdict(*frames: str) -> bytes:
    repeats = [Repeat(index=n, frame=frame, similarity=0.95, by="vectors") for n, frame in enumerate(frames)]
    return msgspec.json.encode(Verdict(unique=[7], repeats=repeats))


def made(number: int, *shards: tuple[str, int, bytes]) -> bytes:
    """An entry with shards of videos, their kept rows and verdicts; a row is filled with the first letter of a name."""
    said = [(Judged(f"{media}_s0", "r", media, "subject", rows), told) for media, rows, told in shards]
    rows = [media[:1].encode() * (ROW * count) for media, count, _ in shards]
    times = [bytes([number]) * (8 * count) for _, count, _ in shards]
    return packed("origin", number, number, said, {TIMES: (times, 8), "vectors": (rows, ROW)})


def told(pack: Pack) -> list[tuple[str, int, bytes]]:
    return [(judged.media, judged.rows, said) for judged, said in pack.said()]


names = st.text("abcdef", min_size=1, max_size=6)
shards = st.lists(st.tuples(names, st.integers(0, 5), st.builds(verdict, names)), max_size=5)


@settings(deadline=None, max_examples=50)
@given(st.lists(shards, min_size=1, max_size=4))
def test_what_goes_in_comes_out_also_after_several_became_one(entries: list) -> None:
    packs = [unpacked(made(number, *each)) for number, each in enumerate(entries)]
    assert [told(pack) for pack in packs] == [list(each) for each in entries]
    whole = unpacked(merged(packs))
    whole.check()
    assert told(whole) == [each for entry in entries for each in entry]
    assert bytes(whole.array("vectors")) == b"".join(bytes(pack.array("vectors")) for pack in packs)
    assert (whole.header.first, whole.header.last) == (0, len(entries) - 1)
    assert whole.header.rows == sum(rows for entry in entries for _, rows, _ in entry)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_damage_anywhere_is_noticed_or_does_no_harm(data: st.DataObject) -> None:
    good = made(3, ("a", 2, verdict("b_1")), ("c", 1, verdict()))
    place = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[place] ^= data.draw(st.integers(1, 255))
    try:
        pack = unpacked(bytes(bad))
        pack.check()
    except Broken:
        return
    assert told(pack) == told(unpacked(good))


@pytest.mark.parametrize("size", [0, 5, 20, 100, -64, -200])
def test_a_part_is_none(size: int) -> None:
    good = made(3, ("a", 2, verdict("b_1")), ("c", 5, verdict()))
    with pytest.raises(Broken):
        unpacked(good[:size])


def test_what_is_struck_out_is_gone_and_rows_keep_their_numbers() -> None:
    stays = verdict("gone_1000", "kept_1", "gone_2")
    pack = unpacked(made(1, ("gone", 2, verdict("x_1")), ("stays", 1, stays), ("kept", 1, verdict())))
    left = unpacked(data := struck(pack, "gone".__eq__))
    left.check()
    assert b"gone" not in data
    assert bytes(left.array("vectors")) == bytes(2 * ROW) + b"s" * ROW + b"k" * ROW
    assert bytes(left.array(TIMES)) == bytes(16) + b"\1" * 16
    assert [judged.rows for judged in left.header.shards] == [2, 1, 1]
    (first, _), (second, said), _ = left.said()
    assert (first.media, first.entity, second.media) == ("", "", "stays")
    assert [repeat.frame for repeat in read_verdict(said).repeats] == ["", "kept_1", ""]
    assert struck(left, "gone".__eq__) == data


@pytest.mark.parametrize(
    ("segments", "chain"),
    [
        ([(0, 9), (10, 19)], [(0, 9), (10, 19)]),
        ([(0, 9), (0, 12), (10, 19)], [(0, 9), (10, 19)]),
        ([(0, 9), (10, 19), (0, 25)], [(0, 25)]),
        ([(10, 19)], [(10, 19)]),
        ([], []),
    ],
)
def test_segments_that_follow_each_other_up_to_the_last(segments: list, chain: list) -> None:
    ranges = [Range(f"{a}-{b}", a, b) for a, b in segments]
    found, useless = _chain(ranges)
    assert [(each.first, each.last) for each in found] == chain
    assert sorted(found + useless) == sorted(ranges)
