"""Whether a picture of an H.264 stream is missing, by the frame numbers that slices carry (ITU-T H.264, 7.3 and 7.4.3).

FFmpeg makes up what is missing, and says nothing.
"""

from collections.abc import Iterable
from itertools import islice

SLICE, IDR, SPS = 1, 5, 7
_WITH_CHROMA = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244))
"""Profiles whose parameter sets say more."""
_SLICE_HEAD = 24
"""Bytes of a slice in which its frame number stands."""


class FrameNumbers:
    """Follows the frame numbers of one stream, picture by picture in the order of decoding."""

    def __init__(self, extradata: bytes):
        """`extradata` as FFmpeg gives it: avcC, or NAL units after start codes."""
        self._width = self._planes = 0
        """Bits of a frame number, 0 where they cannot be followed; bits of a colour plane's id."""
        self._sets: set[bytes] = set()
        self._last: int | None = None
        """Of the reference picture before."""
        if extradata[:1] == b"\1":
            self._learn_all(_listed(extradata))
        else:
            self._learn_all(b"\0" + part for part in extradata.split(b"\0\0\1") if part[:1] and part[0] & 31 == SPS)

    def follows(self, nals: Iterable[bytes]) -> bool:
        """Whether no reference picture is missing before this one, whose NAL units these are."""
        for nal in nals:
            kind = nal[0] & 31 if nal else 0
            if kind == SPS:
                self._learn(nal)
            elif kind in (SLICE, IDR):
                return self._check(nal, kind == IDR)
        return True

    def _check(self, nal: bytes, is_idr: bool) -> bool:
        number = self._number(nal)
        if number is None:
            return True
        last, follows = self._last, True
        if last is not None and not is_idr:
            follows = number in (last, (last + 1) % (1 << self._width))
        if nal[0] & 0x60 or not follows:
            self._last = number
        return follows

    def _number(self, nal: bytes) -> int | None:
        if not self._width:
            return None
        bits = _Bits(nal[1:_SLICE_HEAD])
        try:
            for _ in range(3):  # first macroblock, kind of slice, its parameter set
                bits.exp_golomb()
            bits.read(self._planes)
            return bits.read(self._width)
        except ValueError:
            return None

    def _learn_all(self, sets: Iterable[bytes]) -> None:
        for one in sets:
            self._learn(one.lstrip(b"\0"))

    def _learn(self, nal: bytes) -> None:
        """A parameter set; where there are several, nobody follows which of them counts."""
        nal = nal.rstrip(b"\0")
        if nal in self._sets or len(self._sets) > 1:
            return
        self._sets.add(nal)
        self._width, self._last = 0, None
        try:
            if len(self._sets) == 1 and len(nal) > 4:
                self._width, self._planes = _widths(_Bits(nal[4:]), nal[1])
        except ValueError:
            pass


def _listed(extradata: bytes) -> Iterable[bytes]:
    """The sequence parameter sets of an avcC."""
    at = 6
    for _ in range(extradata[5] & 31 if len(extradata) > 6 else 0):
        size = int.from_bytes(extradata[at : at + 2], "big")
        yield extradata[at + 2 : at + 2 + size]
        at += 2 + size


def _widths(bits: "_Bits", profile: int) -> tuple[int, int]:
    """Bits of a frame number (0 where numbers may be left out) and of a colour plane's id."""
    planes = 0
    bits.exp_golomb()
    if profile in _WITH_CHROMA:
        is_444 = bits.exp_golomb() == 3
        planes = 2 * bits.read(is_444)
        bits.exp_golomb(), bits.exp_golomb(), bits.read(1)
        if bits.read(1):
            _skip_scaling(bits, 12 if is_444 else 8)
    width, order = bits.exp_golomb() + 4, bits.exp_golomb()
    if order == 0:
        bits.exp_golomb()
    elif order == 1:
        bits.read(1), bits.exp_golomb(), bits.exp_golomb()
        for _ in islice(range(255), bits.exp_golomb()):
            bits.exp_golomb()
    bits.exp_golomb()
    return (0 if bits.read(1) or width > 16 else width), planes


def _skip_scaling(bits: "_Bits", lists: int) -> None:
    for number in range(lists):
        last = scale = 8
        for _ in range((16 if number < 6 else 64) if bits.read(1) else 0):
            if scale:
                code = bits.exp_golomb()
                scale = (last + (code + 1 >> 1 if code & 1 else -(code >> 1))) % 256
            last = scale or last


class _Bits:
    """Reads a NAL unit bit by bit. Raises ValueError past its end."""

    def __init__(self, data: bytes):
        plain = data.replace(b"\0\0\3", b"\0\0")
        self.bits, self.at = f"{int.from_bytes(plain, 'big'):0{8 * len(plain)}b}", 0

    def read(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        self.at += count
        if self.at > len(self.bits):
            raise ValueError("past the end")
        return int(self.bits[self.at - count : self.at] or "0", 2)

    def exp_golomb(self) -> int:
        """An unsigned number of as many bits as it needs."""
        zeros = self.bits.index("1", self.at) - self.at
        self.at += zeros
        return self.read(zeros + 1) - 1
