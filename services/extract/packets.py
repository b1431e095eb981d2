"""What a packet says of itself: whether decoding can begin at it, whether it shows a picture, whether it was zeroed.

Containers' keyframe flags are not always true, and say nothing of hidden pictures. Read here: H.264 (ITU-T H.264, 7.3
and D.1.8), HEVC (ITU-T H.265, 7.4.2.2), VP8 (RFC 6386, 9.1), VP9 (bitstream specification, 6.2 and annex B).
"""

import re
from collections.abc import Iterator
from enum import IntFlag
from itertools import chain, pairwise

from services.extract.frame_numbers import FrameNumbers

_START_CODE = re.compile(b"\0\0\1")
_ILLEGAL_BETWEEN_CODES = re.compile(b"\0\0(?:\2|\0+[\2-\xff])")
_ILLEGAL_IN_A_NAL = (b"\0\0\0", b"\0\0\1", b"\0\0\2")
_RECOVERY_POINT = 6
_HOLE = bytes(128)
"""Zeros that no encoder of VP8, VP9 or AV1 writes in a row: a part of the file that never arrived."""


class Look(IntFlag):
    """What is known of one packet."""

    SHOWN = 1
    """It holds a picture that is shown."""
    KEY = 2
    """A decoder can begin here: this picture, and those shown after it, come out right."""
    CLEAN = 4
    """And nothing that follows in the file refers to anything before it, but for pictures shown before it."""
    BAD = 8
    """Parts of it are missing."""


class PacketReader:
    """Looks at packets of one stream."""

    def __init__(self, codec: str, extradata: bytes | None):
        """`codec` as FFmpeg names it; `extradata` says for H.264 and HEVC how NAL units are told apart."""
        self.codec, self.prefix = codec, _length_prefix(codec, extradata or b"")
        self._numbers = FrameNumbers(extradata or b"") if codec == "h264" else None

    def look(self, data: bytes, is_key: bool) -> Look:
        """What one packet is; `is_key` is what its container says of it."""
        if self.codec in ("vp8", "vp9", "av1") and _HOLE in data:
            return Look.SHOWN | Look.BAD
        if self.codec == "vp8":
            return (Look.SHOWN if data[:1] and data[0] & 16 else Look(0)) | _both(is_key and not data[0] & 1)
        if self.codec == "vp9":
            return (Look.SHOWN if _vp9_shown(data) else Look(0)) | _both(is_key)
        if self.codec not in ("h264", "hevc"):
            return Look.SHOWN | _both(is_key)
        if not _is_whole(data, self.prefix) if self.prefix else _ILLEGAL_BETWEEN_CODES.search(data):
            return Look.SHOWN | Look.BAD
        follows = not self._numbers or self._numbers.follows(self._nals(data))
        entry = _h264_entry if self.codec == "h264" else _hevc_entry
        look = Look.SHOWN | (entry(self._nals(data)) if is_key else Look(0))
        return look if follows or look & Look.KEY else look | Look.BAD

    def _nals(self, data: bytes) -> Iterator[bytes]:
        """The NAL units of a packet."""
        if self.prefix:
            yield from _prefixed(data, self.prefix)
        else:
            codes = chain(((match.start(), match.end()) for match in _START_CODE.finditer(data)), [(len(data), 0)])
            yield from (data[begin:end] for (_, begin), (end, _) in pairwise(codes))


def _both(is_key: bool) -> Look:
    return Look.KEY | Look.CLEAN if is_key else Look(0)


def _length_prefix(codec: str, extradata: bytes) -> int:
    """Bytes of the length before each NAL unit; 0 where start codes part them."""
    at = {"h264": 4, "hevc": 21}.get(codec)
    if at is None or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def _prefixed(data: bytes, prefix: int) -> Iterator[bytes]:
    at = 0
    while at + prefix <= len(data):
        size = int.from_bytes(data[at : at + prefix], "big")
        yield data[at + prefix : at + prefix + size]
        at += prefix + size


def _is_whole(data: bytes, prefix: int) -> bool:
    """Whether the lengths add up, and no NAL unit holds what an encoder never writes into one: a hole full of zeros."""
    at = 0
    while at + prefix < len(data):
        end = at + prefix + int.from_bytes(data[at : at + prefix], "big")
        if end == at + prefix or any(data.find(illegal, at + prefix, end) >= 0 for illegal in _ILLEGAL_IN_A_NAL):
            return False
        at = end
    return at == len(data) > 0


def _h264_entry(nals: Iterator[bytes]) -> Look:
    recovers = False
    for nal in nals:
        kind = nal[0] & 31 if nal else 0
        if kind == 5:
            return Look.KEY | Look.CLEAN
        if kind == 6:
            recovers |= _recovers_at_once(nal)
        elif 1 <= kind <= 4:
            break
    return Look.KEY if recovers else Look(0)


def _recovers_at_once(sei: bytes) -> bool:
    """Whether an SEI unit holds a recovery point of zero frames: an I picture that needs no earlier one."""
    at = 1
    while at + 2 < len(sei) and sei[at] != 0x80:
        kind, size = sei[at], sei[at + 1]
        if kind == _RECOVERY_POINT:
            return sei[at + 2] & 0x80 != 0  # recovery_frame_cnt, ue(v): one bit 1 is zero
        if 255 in (kind, size):
            return False
        at += 2 + size
    return False


def _hevc_entry(nals: Iterator[bytes]) -> Look:
    kinds = (nal[0] >> 1 & 63 for nal in nals if nal)
    return _both(16 <= next((kind for kind in kinds if kind < 32), 0) <= 23)


def _vp9_shown(data: bytes) -> bool:
    if not data:
        return False
    if data[-1] & 0xE0 == 0xC0:  # a superframe: hidden pictures, and then one that is shown
        return True
    bits = f"{data[0]:08b}"
    after_profile = 5 if bits[2:4] == "11" else 4
    shows_existing, shown = bits[after_profile] == "1", bits[after_profile + 2] == "1"
    return shows_existing or shown
