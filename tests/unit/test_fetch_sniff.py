"""First bytes: every kind of file told apart, by real files where we can make them."""

import pytest

from lodestream.demo.clips import Clip, sound
from lodestream.web.sniff import HEAD, named_as_video, sniff

CLIPS = [
    Clip("sniff", seconds=0.2),
    Clip("sniff", seconds=0.2, fragmented=True),
    Clip("sniff", seconds=0.2, faststart=False),
    Clip("sniff", seconds=0.2, container="webm", codec="libvpx-vp9"),
    *(Clip("sniff", seconds=0.2, container=name) for name in ("matroska", "mpegts", "flv", "mov")),
    *(Clip("sniff", seconds=0.2, container=name, codec="mpeg4") for name in ("avi", "asf")),
    *(Clip("sniff", seconds=0.2, container=name, codec="mpeg2video") for name in ("mpeg", "mxf")),
]


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: f"{clip.container} {clip.codec}")
def test_video(clip):
    assert sniff(clip.encode()[:HEAD]) == "video"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"<!DOCTYPE html><", "page"),
        (b"\xef\xbb\xbf \r\n<html la", "page"),
        (b"<?xml version='1", "page"),
        (b"#EXTM3U\n#EXT-X-V", "playlist"),
        (b"ID3\x04\0\0\0\0\0\0", "audio"),
        (b"\xff\xfb\x90\x64\0\0\0\0", "audio"),
        (b"\xff\xf1\x50\x80\0\0\0\0", "audio"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio"),
        (b"fLaC\0\0\0\x22", "audio"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"GIF89a\x01\0", "image"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "image"),
        (b'{"error": "no"}', "other"),
        (b"%PDF-1.7\n", "other"),
        (b"PK\x03\x04", "other"),
        (b"\x7fELF", "other"),
        (bytes(HEAD), "other"),
        (b"", "other"),
    ],
)
def test_anything_else(head, kind):
    assert sniff(head) == kind


def test_audio_that_says_so():
    assert sniff(sound(0.2)[:HEAD]) == "audio"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://example.org/a.mp4", True),
        ("https://example.org/a.MP4?token=1", True),
        ("https://example.org/a%2Ewebm", True),
        ("https://example.org/watch?v=a.mp4", False),
        ("https://example.org/mp4", False),
        ("https://example.org/", False),
    ],
)
def test_named_as_video(url, named):
    assert named_as_video(url) is named
