"""Files made by hand to hang, crash or swell whatever reads them: what people have thrown at FFmpeg for years."""

import io
import struct
import zlib
from collections.abc import Callable

import av

from lodestream.demo.clips import Clip
from tests.faults.mutations import boxes
from tests.support.video import encoded

MP4 = Clip("classic", seconds=1, bframes=2, faststart=True)
_FTYP = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"


def box(kind: bytes, *parts: bytes) -> bytes:
    """One box of an MP4."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def patched(kind: bytes, offset: int, new: bytes) -> bytes:
    """A good MP4 with some bytes of the first box of a kind overwritten; `offset` counts from the box's body."""
    data = bytearray(encoded(MP4))
    at = data.index(kind, data.index(b"moov")) + 4 + offset
    data[at : at + len(new)] = new
    return bytes(data)


def renamed(kind: bytes, new: bytes) -> bytes:
    """A good MP4 with one box called something else."""
    data = encoded(MP4)
    at = data.index(kind, data.index(b"moov"))
    return data[:at] + new + data[at + 4 :]


def number(value: int) -> bytes:
    """32 bits."""
    return struct.pack(">I", value)


def edits(*entries: tuple[int, int]) -> bytes:
    """A good MP4 whose edit list says something else: duration and first time of each edit, 64 bits each."""
    listed = b"".join(struct.pack(">QqI", duration, begin, 1 << 16) for duration, begin in entries)
    elst = box(b"edts", box(b"elst", b"\1\0\0\0", number(len(entries)), listed))
    data = encoded(MP4)
    begin = data.index(b"edts") - 4
    end = begin + struct.unpack_from(">I", data, begin)[0]
    grown, changed = len(elst) - (end - begin), bytearray(data[:begin] + elst + data[end:])
    for kind in (b"moov", b"trak"):
        at = changed.index(kind) - 4
        changed[at : at + 4] = number(struct.unpack_from(">I", changed, at)[0] + grown)
    _shift_chunks(changed, grown)
    return bytes(changed)


def _shift_chunks(data: bytearray, by: int) -> None:
    at = data.index(b"stco") + 8
    for place in range(at + 4, at + 4 + 4 * struct.unpack_from(">I", data, at)[0], 4):
        data[place : place + 4] = number(struct.unpack_from(">I", data, place)[0] + by)


def tracks(count: int) -> bytes:
    """So many empty tracks."""
    return _FTYP + box(b"moov", box(b"trak") * count)


def nested(count: int) -> bytes:
    """So many boxes, each in the one before."""
    size = 8 * count
    return _FTYP + b"".join(struct.pack(">I4s", size - 8 * i, b"moov" if i == 0 else b"trak") for i in range(count))


def bomb() -> bytes:
    """A compressed index that claims, and gives, half a gigabyte."""
    packed = zlib.compressobj(9)
    chunk = box(b"free", bytes((1 << 20) - 8))
    body = b"".join(packed.compress(chunk) for _ in range(512)) + packed.flush()
    return _FTYP + box(b"moov", box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", number(512 << 20), body)))


def wide(width: int, height: int) -> bytes:
    """A real video of such pictures."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "gray"
        container.mux(stream.encode(av.VideoFrame(width, height, "gray")))
        container.mux(stream.encode(None))
    return out.getvalue()


def grown() -> bytes:
    """A WebM that says 320 by 180, and whose pictures say 16,383 by 16,383."""
    data = bytearray(encoded(Clip("grown", seconds=1, codec="libvpx", container="webm")))
    at = data.index(b"\x9d\x01\x2a") + 3
    data[at : at + 4] = b"\xff\x3f\xff\x3f"
    return bytes(data)


def _without(kind: bytes) -> bytes:
    data = encoded(MP4)
    return b"".join(data[start:end] for name, start, end in boxes(data, 0, len(data)) if name != kind)


_PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nvideo\n#EXTINF:9,\n/proc/self/fd/0\n#EXT-X-ENDLIST\n"
_EBML = (
    b"\x1aE\xdf\xa3\x9f\x42\x86\x81\1\x42\xf7\x81\1\x42\xf2\x81\4"
    b"\x42\xf3\x81\x08\x42\x82\x84webm\x42\x87\x81\4\x42\x85\x81\2"
)

CLASSICS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one byte": lambda: b"\0",
    "ftyp only": lambda: _FTYP,
    "no moov": lambda: _without(b"moov"),
    "no mdat": lambda: _without(b"mdat"),
    "an endless mdat": lambda: _FTYP + number(1) + b"mdat" + struct.pack(">Q", 1 << 63) + bytes(1000),
    "mdat of 2^64-1": lambda: encoded(MP4) + number(1) + b"mdat" + struct.pack(">Q", (1 << 64) - 1),
    "boxes of no size": lambda: _FTYP + (number(0) + b"free") * 10_000,
    "boxes of size 1": lambda: _FTYP + (number(1) + b"free" + bytes(8)) * 10_000,
    "moov of size 0": lambda: _FTYP + number(0) + b"moov" + bytes(1000),
    "nested boxes": lambda: nested(100_000),
    "a million tracks": lambda: tracks(1_000_000),
    "a bomb": bomb,
    "2^32-1 samples": lambda: patched(b"stsz", 8, number((1 << 32) - 1)),
    "2^31 samples of one byte": lambda: patched(b"stsz", 4, number(1) + number(1 << 31)),
    "100 million samples of one byte": lambda: patched(b"stsz", 4, number(1) + number(100_000_000)),
    "samples of 4 GB": lambda: patched(b"stsz", 12, number((1 << 32) - 1) * 4),
    "2^32-1 chunks": lambda: patched(b"stco", 4, number((1 << 32) - 1)),
    "chunks beyond the file": lambda: patched(b"stco", 8, number((1 << 32) - 2)),
    "2^32-1 times": lambda: patched(b"stts", 4, number((1 << 32) - 1)),
    "2^32-1 samples of one time": lambda: patched(b"stts", 8, number((1 << 32) - 1)),
    "no time passes": lambda: patched(b"stts", 12, number(0)),
    "time runs backwards": lambda: patched(b"stts", 12, number((1 << 32) - 512)),
    "a frame lasts for years": lambda: patched(b"stts", 12, number(0x7FFFFFFF)),
    "absurd offsets of time": lambda: patched(b"ctts", 12, number(0x7FFFFFFF)),
    "no ticks in a second": lambda: patched(b"mdhd", 12, number(0)),
    "2^32-1 ticks in a second": lambda: patched(b"mdhd", 12, number((1 << 32) - 1)),
    "a duration of centuries": lambda: patched(b"mvhd", 16, number((1 << 32) - 1)),
    "an edit that begins before time": lambda: edits((1000, -(1 << 62))),
    "an edit that begins never": lambda: edits((1000, 1 << 62)),
    "an edit that lasts for ever": lambda: edits(((1 << 63) - 1, -1), (1000, 0)),
    "a thousand edits": lambda: edits(*[(10, 500)] * 1000),
    "30,000 pixels in the header": lambda: patched(b"avc1", 24, struct.pack(">HH", 30_000, 30_000)),
    "no pixels in the header": lambda: patched(b"avc1", 24, bytes(4)),
    "30,000 pixels indeed": lambda: wide(30_000, 32),
    "64 million pixels indeed": lambda: wide(16_000, 4_000),
    "pictures that grow": grown,
    "2^32-1 kinds of sample": lambda: patched(b"stsd", 4, number((1 << 32) - 1)),
    "an unknown codec": lambda: renamed(b"avc1", b"zzzz"),
    "no decoder's header": lambda: renamed(b"avcC", b"free"),
    "data in another file": lambda: patched(b"url ", 0, bytes(4)),
    "a playlist of itself": lambda: _PLAYLIST,
    "a list of itself": lambda: b"ffconcat version 1.0\nfile video\nfile /etc/passwd\n",
    "a page": lambda: b"<!doctype html><video src=x>" * 100,
    "a segment of 2^56-2 bytes": lambda: _EBML + b"\x18\x53\x80\x67\1\xff\xff\xff\xff\xff\xff\xfe" + bytes(1000),
    "segments without an end": lambda: _EBML + b"\x18\x53\x80\x67\1\xff\xff\xff\xff\xff\xff\xff" * 10_000,
    "clusters without an end": lambda: _EBML + b"\x18\x53\x80\x67\xff" + b"\x1f\x43\xb6\x75\xff" * 100_000,
    "an AVI of no rate": lambda: b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrlavih" + bytes(200),
    "a transport stream of nothing": lambda: (b"G\x1f\xff\x10" + bytes(184)) * 20_000,
    "a transport stream of tables": lambda: (b"G\x40\0\x10\0\0\xb0\x0d\0\1\xc1\0\0\0\1\xe0\0" + bytes(171)) * 5_000,
}
"""By name, what gives the file."""
