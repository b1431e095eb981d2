"""What packets say of themselves, written bit by bit."""

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.extract.packets import Look, PacketReader
from tests.support.video import KINDS, encoded

AVCC = bytes([1, 100, 0, 31, 0xFF])
IDR, SLICE, AUD = b"\x65\x88\x84", b"\x41\x9a\x22", b"\x09\x10"
SHOWN, ENTRY = Look.SHOWN, Look.SHOWN | Look.KEY | Look.CLEAN


def recovery(frames: int) -> bytes:
    """An SEI unit: user data, then a recovery point that is right after so many frames (0 or 1)."""
    return b"\x06" + b"\x05\x02ab" + bytes([6, 1, 0xC0 if frames == 0 else 0x50]) + b"\x80"


def prefixed(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def coded(*units: bytes) -> bytes:
    return b"".join(b"\0\0\0\1" + unit for unit in units)


@pytest.mark.parametrize(("extradata", "join"), [(AVCC, prefixed), (b"", coded)])
def test_h264_begins_at_an_idr_picture_whatever_the_container_says(extradata: bytes, join) -> None:  # type: ignore[no-untyped-def]
    reader = PacketReader("h264", extradata)
    assert reader.look(join(AUD, IDR), is_key=True) == ENTRY
    assert reader.look(join(AUD, SLICE), is_key=True) == SHOWN
    assert reader.look(join(recovery(0), SLICE), is_key=True) == SHOWN | Look.KEY
    assert reader.look(join(recovery(1), SLICE), is_key=True) == SHOWN
    assert reader.look(join(AUD, IDR), is_key=False) == SHOWN


@pytest.mark.parametrize(
    "packet",
    [
        prefixed(SLICE)[:-1],
        prefixed(SLICE) + b"\0\0\0",
        prefixed(b"\x41" + bytes(20)),
        bytes(40),
        b"",
        prefixed(b"\x41ab\0\0\1cd"),
    ],
)
def test_a_hole_in_a_packet_is_seen(packet: bytes) -> None:
    assert PacketReader("h264", AVCC).look(packet, is_key=False) & Look.BAD


def test_escaped_zeros_are_no_hole() -> None:
    assert PacketReader("h264", AVCC).look(prefixed(b"\x41\0\0\3\0\0\3\1"), is_key=False) == SHOWN


def test_hevc_begins_at_random_access_pictures() -> None:
    extradata = bytes([1]) + bytes(20) + bytes([0xFF])
    reader = PacketReader("hevc", extradata)
    for kind, look in {1: SHOWN, 9: SHOWN, 19: ENTRY, 21: ENTRY}.items():
        assert reader.look(prefixed(b"\x40\x01ab", bytes([kind << 1, 1]) + b"ab"), is_key=True) == look


def test_vp8_hides_pictures() -> None:
    reader = PacketReader("vp8", None)
    assert reader.look(bytes([0b10000, 2, 3]), is_key=True) == ENTRY
    assert reader.look(bytes([0b10001, 2, 3]), is_key=False) == SHOWN
    assert reader.look(bytes([0b00001, 2, 3]), is_key=False) == Look(0)


def test_vp9_hides_pictures() -> None:
    reader = PacketReader("vp9", None)
    assert reader.look(bytes([0b10000010, 0x49, 0]), is_key=True) == ENTRY
    assert reader.look(bytes([0b10000110, 0, 0]), is_key=False) == SHOWN
    assert reader.look(bytes([0b10000100, 0, 0]), is_key=False) == Look(0)
    assert reader.look(bytes([0b10001000]), is_key=False) == SHOWN, "shows an earlier picture"
    assert reader.look(bytes([0b10110001, 0, 0]), is_key=False) == SHOWN, "profile 3 has one bit more"
    assert reader.look(bytes([0b10000100, 0, 0xC1]), is_key=False) == SHOWN, "a superframe ends with a shown one"


def test_other_codecs_are_believed() -> None:
    assert PacketReader("av1", None).look(b"x", is_key=True) == ENTRY
    assert PacketReader("mpeg4", b"\0\0\1").look(b"", is_key=False) == SHOWN


@pytest.mark.parametrize("name", ["plain", "pyramid", "interlaced", "bare", "full-chroma"])
def test_a_reference_that_is_missing_is_missed(name: str) -> None:
    clip = next(clip for clip in KINDS if clip.name == name)
    with av.open(io.BytesIO(encoded(clip))) as container:
        stream = container.streams.video[0]
        packets = [(bytes(p), p.is_keyframe) for p in container.demux(stream) if p.size]
        extradata = stream.codec_context.extradata

    def bad(chosen: list[tuple[bytes, bool]]) -> list[int]:
        reader = PacketReader("h264", extradata)
        return [i for i, packet in enumerate(chosen) if reader.look(*packet) & Look.BAD]

    assert bad(packets) == []
    assert bad(packets[:7] + packets[11:]) == [7]
    key = next(i for i, (_, is_key) in enumerate(packets) if i and is_key)
    assert bad(packets[:7] + packets[key:]) == [], "a keyframe refers to nothing"


@given(st.binary(max_size=60), st.lists(st.binary(max_size=40)))
def test_nothing_that_parameter_sets_and_slices_say_does_harm(extradata: bytes, packets: list[bytes]) -> None:
    for start in (b"", b"\1" + extradata[:5], b"\0\0\1\x67"):
        reader = PacketReader("h264", start + extradata)
        for packet in packets:
            reader.look(b"\0\0\1\x67" + packet, is_key=False)
            reader.look(b"\0\0\1\x41" + packet, is_key=False)
