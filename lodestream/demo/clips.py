"""Real video, encoded on the spot and the same bytes every time: for the demo and for the tests.

Every picture carries its frame number twice in blocks along its lower edge, so that whoever holds a decoded frame can
tell which one it is (`read_number`), after scaling and JPEG too.
"""

import io
import struct
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from itertools import cycle
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

BITS = 16
"""Bits of a frame number: a row of as many blocks, and under it a row of their opposites."""

RATE = 48_000
"""Samples of sound in a second."""
_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "24", "threads": "1", "mbtree": "0"},  # mbtree differs from run to run
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    "mpeg2video": {"qmin": "2", "qmax": "4", "threads": "1"},
    "mpeg4": {"qmin": "2", "qmax": "4", "threads": "1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0", "threads": "1"},
    "libsvtav1": {"preset": "12", "crf": "35", "svtav1-params": "lp=1"},
}


@dataclass(frozen=True)
class Clip:
    """One video to be encoded. Sizes are pixels as shown, times are seconds."""

    name: str
    seconds: float = 4.0
    fps: int = 25
    width: int = 320
    height: int = 180
    container: str = "mp4"
    """A muxer of FFmpeg's: mp4, webm, matroska, mpegts, avi ..."""
    codec: str = "libx264"
    pixels: str = "yuv420p"
    bframes: int = 0
    gop: int = 25
    """Frames from one keyframe to the next."""
    options: tuple[tuple[str, str], ...] = ()
    """More for the encoder."""
    gaps_ms: tuple[int, ...] = ()
    """Variable frame rate: milliseconds between frames, over and over."""
    cuts: tuple[float, ...] = ()
    """Where another scene begins."""
    rotation: int = 0
    """Degrees clockwise that a player turns the stored picture: 0, 90, 180 or 270 (MP4 only)."""
    fragmented: bool = False
    """An MP4 of fragments, with no frame count and no duration in its header."""
    faststart: bool = True
    """Whether an MP4's index lies before its frames, so that what is left of a cut file can be read."""
    sound: bool = False

    def times(self) -> list[Fraction]:
        """The exact presentation time of every frame, from 0."""
        if not self.gaps_ms:
            return [Fraction(i, self.fps) for i in range(round(self.seconds * self.fps))]
        times = [Fraction(0)]
        for gap in cycle(self.gaps_ms):
            if (then := times[-1] + Fraction(gap, 1000)) >= self.seconds:
                return times
            times.append(then)
        raise AssertionError

    def scene(self, time: float) -> int:
        """Which scene is shown at `time`, from 0."""
        return sum(time >= cut for cut in self.cuts)

    def picture(self, number: int, time: float) -> np.ndarray:
        """Picture `number`, as it is to be shown."""
        return draw(self, number, time)

    def encode(self) -> bytes:
        """The file."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip"  # a real file: moving the index to the front reads it again
            _mux(self, path, self.container, _muxer_options(self))
            return turn(path.read_bytes(), self.rotation) if self.rotation else path.read_bytes()

    def hls(self, segment_s: float = 2.0) -> dict[str, bytes]:
        """A playlist, `index.m3u8`, and its MPEG-TS segments, by file name."""
        with tempfile.TemporaryDirectory() as folder:
            options = {"hls_time": str(segment_s), "hls_playlist_type": "vod", "hls_flags": "independent_segments"}
            _mux(self, Path(folder) / "index.m3u8", "hls", options)
            return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def draw(clip: Clip, number: int, time: float) -> np.ndarray:
    """Picture `number` as it is to be shown: RGB, uint8, shape (height, width, 3)."""
    world, ball, (hole, ink) = _world(clip, clip.scene(time)), _ball(clip), _title(clip)
    left = (number * 2) % clip.width
    picture = world[:, left : left + clip.width].copy()
    top, side = _bounce(time * 0.9, clip.height * 3 // 4 - len(ball)), _bounce(time * 0.37, clip.width - len(ball))
    spot = picture[top : top + len(ball), side : side + len(ball)]
    spot[ball.any(2)] = ball[ball.any(2)]
    corner = picture[: hole.shape[0], : hole.shape[1]]
    corner[hole] = ink[hole]
    _write_number(picture, number)
    return picture


def read_number(picture: np.ndarray) -> int | None:
    """The frame number in a picture (RGB or grey, any size), or None where its two copies disagree."""
    grey = picture.mean(axis=2) if picture.ndim == 3 else picture
    upper, lower = (_bits(grey, row) for row in (0, 1))
    if any(a == b for a, b in zip(upper, lower, strict=True)):
        return None
    return sum(bit << place for place, bit in enumerate(upper))


def sound(seconds: float = 2.0) -> bytes:
    """A tone in an M4A file: no picture at all."""
    out = io.BytesIO()
    with av.open(out, "w", format="ipod", options={"fflags": "+bitexact"}) as container:
        _tone(container, _tone_stream("ipod", container), seconds)
    return out.getvalue()


def cut(data: bytes, share: float = 0.5) -> bytes:
    """The first `share` of a file: what a broken download leaves."""
    return data[: int(len(data) * share)]


def turn(mp4: bytes, degrees: int) -> bytes:
    """The same MP4 with a display matrix that has players turn it clockwise by 90, 180 or 270 degrees."""
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    at = mp4.index(b"tkhd") + 44  # type, version and flags, five 32-bit times and ids, 16 bytes of layer and volume
    return mp4[:at] + matrix + mp4[at + 36 :]


def _mux(clip: Clip, path: Path, muxer: str, options: dict[str, str]) -> None:
    with av.open(path, "w", format=muxer, options={"fflags": "+bitexact", **options}) as container:
        video = _video_stream(clip, container)
        tone = _tone_stream(clip.container, container) if clip.sound else None
        for number, time in enumerate(clip.times()):
            picture = np.rot90(clip.picture(number, float(time)), clip.rotation // 90)  # the player turns it back
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format=clip.pixels)
            frame.time_base = video.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if tone:
            _tone(container, tone, clip.seconds)


def _video_stream(clip: Clip, container: Any) -> Any:
    given = {**_OPTIONS.get(clip.codec, {"threads": "1"}), "flags": "+bitexact", "g": str(clip.gop)}
    if clip.codec == "libx264":
        given |= {"bf": str(clip.bframes), "keyint_min": str(clip.gop), "sc_threshold": "0"}
    stream = container.add_stream(clip.codec, rate=clip.fps, options={**given, **dict(clip.options)})
    stream.width, stream.height = (clip.width, clip.height) if clip.rotation % 180 == 0 else (clip.height, clip.width)
    stream.pix_fmt = clip.pixels
    stream.codec_context.time_base = Fraction(1, 1000) if clip.gaps_ms else Fraction(1, clip.fps)
    return stream


def _muxer_options(clip: Clip) -> dict[str, str]:
    if clip.container != "mp4":
        return {}
    if clip.fragmented:
        return {"movflags": "+frag_keyframe+delay_moov+default_base_moof"}
    return {"movflags": "+faststart"} if clip.faststart else {}


def _tone_stream(muxer: str, container: Any) -> Any:
    return container.add_stream("libopus" if muxer == "webm" else "aac", rate=RATE)


def _tone(container: Any, stream: Any, seconds: float) -> None:
    resampler = av.AudioResampler(stream.codec_context.format, stream.codec_context.layout, RATE)
    for start in range(0, int(seconds * RATE), 960):
        wave = 0.1 * np.sin(np.arange(start, start + 960) * (2 * np.pi * 440 / RATE))
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = RATE, start
        for piece in resampler.resample(frame):
            container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


@lru_cache(64)
def _world(clip: Clip, scene: int) -> np.ndarray:
    """What the camera pans over: twice the picture's width, its colours by the clip's name and the scene."""
    seed = blake2b(f"{clip.name} {scene}".encode(), digest_size=3).digest()
    x, y = np.meshgrid(np.arange(2 * clip.width) / clip.width, np.linspace(0, 1, clip.height))
    tilt = [x + (0.3 + channel * 0.2) * y for channel in range(3)]
    waves = [np.sin(2 * np.pi * slope + letter / 20) for slope, letter in zip(tilt, seed, strict=True)]
    light = 40 + 120 * (scene % 2)
    world = np.stack([light + letter % 48 + 40 * wave for wave, letter in zip(waves, seed, strict=True)], 2)
    return world.astype(np.uint8)


@lru_cache(64)
def _ball(clip: Clip) -> np.ndarray:
    size = min(clip.width, clip.height) // 3
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    shine = np.clip(1.1 - np.hypot(x + 0.4, y + 0.4) * 0.6, 0.2, 1)[..., None]
    colour = np.frombuffer(blake2b(clip.name.encode(), digest_size=3).digest(), np.uint8) % 156 + 100
    return (shine * colour * (np.hypot(x, y) < 1)[..., None]).astype(np.uint8)


@lru_cache(64)
def _title(clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Where the title hides the world (mask), and the title."""
    font = ImageFont.load_default(max(10, clip.height // 11))
    right, bottom = (int(side) + 6 for side in font.getbbox(clip.name)[2:])
    label = Image.new("RGB", (min(right, clip.width), min(bottom, clip.height // 2)), (16, 16, 24))
    ImageDraw.Draw(label).text((3, 2), clip.name, font=font, fill=(255, 255, 255))
    ink = np.asarray(label)
    return np.ones(ink.shape[:2], bool), ink


def _bounce(phase: float, room: int) -> int:
    return round(room * abs(1 - phase % 2))


def _write_number(picture: np.ndarray, number: int) -> None:
    for row in (0, 1):
        for place in range(BITS):
            top, bottom, left, right = _block(picture.shape[0], picture.shape[1], row, place)
            picture[top:bottom, left:right] = 225 if (number >> place & 1) != row else 30


def _bits(grey: np.ndarray, row: int) -> list[int]:
    blocks = (_block(grey.shape[0], grey.shape[1], row, place) for place in range(BITS))
    return [int(grey[(top + bottom) // 2, (left + right) // 2] > 127) for top, bottom, left, right in blocks]


def _block(height: int, width: int, row: int, place: int) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of one block: the rows are the last two sixteenths of the height."""
    top, bottom = (height * (14 + row + edge) // 16 for edge in (0, 1))
    left, right = (width * (place + edge) // BITS for edge in (0, 1))
    return top, bottom, left, right
