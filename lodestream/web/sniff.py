"""What a file is by its first 16 bytes: enough to refuse most of what is no video before it costs anything."""

import re
from typing import Literal
from urllib.parse import unquote, urlsplit

HEAD = 16
"""Bytes that are looked at."""
Kind = Literal["video", "page", "playlist", "audio", "image", "other"]

_BRANDS: dict[bytes, Kind] = {
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P ", b"F4A "), "audio"),
    **dict.fromkeys((b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"crx "), "image"),
}
_ATOMS = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof", b"sidx", b"uuid", b"pnot"))
_RIFF: dict[bytes, Kind] = {b"AVI ": "video", b"WAVE": "audio", b"WEBP": "image"}
_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"\x1aE\xdf\xa3", "video"),  # Matroska, WebM
    (b"FLV\x01", "video"),
    (b"OggS", "video"),
    (b"0&\xb2u\x8ef\xcf\x11", "video"),  # ASF: wmv
    (b"\x00\x00\x01\xba", "video"),  # MPEG program stream
    (b"\x00\x00\x01\xb3", "video"),
    (b"\x06\x0e+4\x02\x05\x01\x01", "video"),  # MXF
    (b"#EXTM3U", "playlist"),
    (b"ID3", "audio"),
    (b"fLaC", "audio"),
    (b"#!AMR", "audio"),
    (b"MThd", "audio"),
    (b"\xff\xd8\xff", "image"),
    (b"\x89PNG", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
    (b"II*\x00", "image"),
    (b"MM\x00*", "image"),
)
_VIDEO_NAME = re.compile(r"\.(mp4|m4v|mov|webm|mkv|avi|mpe?g|m?ts|m2ts|flv|wmv|asf|ogv|3gp|3g2|mxf)\Z", re.IGNORECASE)


def sniff(head: bytes) -> Kind:
    """What these bytes begin; a page is HTML or XML."""
    if head[4:8] in _ATOMS:
        return _BRANDS.get(head[8:12], "video") if head[4:8] == b"ftyp" else "video"
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], "other")
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:1] == b"G" or head[4:5] == b"G":  # MPEG-TS, or with four bytes of time before each packet
        return "video"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return "page"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # MPEG audio
        return "audio"
    return "other"


def named_as_video(url: str) -> bool:
    """Whether the path of a URL ends as video files do."""
    return _VIDEO_NAME.search(unquote(urlsplit(url).path)) is not None
