"""Frames of 300 s of 720p30 H.264 (x264 medium) to JPEG shards, against `ffmpeg -vf fps=1` writing as many JPEGs.

`python -m tests.bench.bench_extract`; CPU seconds of one thread each, child processes and Python's own start included;
the better of two runs. Where no ffmpeg program is on PATH, its libraries do the same work in this Python.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.support.video import filtered

SECONDS, FPS, WIDTH, HEIGHT = 300, 30, 1280, 720
FOLDER = Path(tempfile.gettempdir()) / "lodestream-bench"
FIRST_OF_EACH_SECOND = "isnan(prev_selected_t)+gt(floor(t),floor(prev_selected_t))"
LIBRARIES = "FFmpeg's libraries, -vf fps=1"
SAMPLERS: dict[str, dict[str, Any]] = {"every: 1s": {"every": 1.0}, "keyframes": {"keyframes": True}}


def run() -> list[dict[str, Any]]:
    """One row per target."""
    clip = _clip()
    every, peak, times = _ours(clip, "every: 1s")
    keys, _, key_times = _ours(clip, "keyframes")
    peer, name = _ffmpeg(clip)
    if times != _selected(clip):
        raise SystemExit(f"not the frames that FFmpeg selects by {FIRST_OF_EACH_SECOND} selects")
    what = "every: 1s, 300 s of 720p30 H.264"
    return [
        {
            "what": f"{what}: CPU against {name}",
            "ratio": every / peer,
            "target": 0.65,
            "cost": True,
            "detail": f"{every:.1f} s, {peer:.1f} s; {len(times)} frames, the same presentation times",
        },
        {
            "what": f"{what}: peak memory",
            "ratio": peak,
            "target": 150,
            "cost": True,
            "detail": "MB of the whole process",
        },
        {
            "what": f"keyframes, same video: CPU against {name}",
            "ratio": keys / peer,
            "target": 0.12,
            "cost": True,
            "detail": f"{keys:.2f} s; {len(key_times)} frames",
        },
    ]


def _clip() -> Path:
    """The video, encoded once: a camera that wanders over a rough surface, with a sensor's noise."""
    path = FOLDER / f"{HEIGHT}p{FPS}-{SECONDS}s.mp4"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        _encode(part)
        part.rename(path)
    return path


def _encode(path: Path) -> None:
    rng = np.random.default_rng(1)
    world = np.cumsum(np.cumsum(rng.normal(0, 1, (HEIGHT + 180, WIDTH + 320)), 0), 1)
    world = (24 + 200 * (world - world.min()) / np.ptp(world)).astype(np.uint8)
    noise = rng.integers(-3, 4, (2 * HEIGHT, 2 * WIDTH), np.int8)
    chroma = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    y, x = 90.0, 160.0
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for _ in range(SECONDS * FPS):
            y, x = np.clip(y + rng.normal(0, 2), 0, 180), np.clip(x + rng.normal(0, 3), 0, 320)
            top, left = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
            luma = (
                world[int(y) : int(y) + HEIGHT, int(x) : int(x) + WIDTH]
                + noise[top : top + HEIGHT, left : left + WIDTH]
            )
            planes = np.concatenate([luma.astype(np.uint8), chroma])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
        container.mux(stream.encode(None))


def _ours(clip: Path, sampler: str) -> tuple[float, int, list[int]]:
    """CPU seconds, peak memory in MB, and the times of the frames in ms."""
    runs = [_process([sys.executable, "-m", "tests.bench.bench_extract", str(clip), sampler]) for _ in range(2)]
    times = json.loads(runs[0][2].splitlines()[-1])
    return min(cpu for cpu, _, _ in runs), max(peak for _, peak, _ in runs), times


def _ffmpeg(clip: Path) -> tuple[float, str]:
    """CPU seconds of the peer, and its name."""
    with tempfile.TemporaryDirectory() as folder:
        command, name = [sys.executable, "-m", "tests.bench.bench_extract", str(clip), LIBRARIES], LIBRARIES
        if program := shutil.which("ffmpeg"):
            one, name = ["-threads", "1"], "ffmpeg -vf fps=1"
            command = [program, "-v", "error", *one, "-i", str(clip), "-filter_threads", "1", "-vf", "fps=1", *one]
            command += ["-q:v", "3", "-y", f"{folder}/%05d.jpg"]
        return min(_process(command)[0] for _ in range(2)), name


def _process(command: list[str]) -> tuple[float, int, str]:
    """CPU seconds, peak memory in MB and output of one program. Raises SystemExit where it fails."""
    with tempfile.TemporaryFile("w+") as said:
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, said.fileno(), 1)])
        _, status, usage = os.wait4(pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        said.seek(0)
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024, said.read()


def _selected(clip: Path) -> list[int]:
    """The times, in ms, of the frames that FFmpeg's filter takes as the first of each second."""
    return [round(frame.time * 1000) for frame in filtered(clip, "select", FIRST_OF_EACH_SECOND)]


def _libraries(clip: str) -> None:
    """What the ffmpeg program does, by the same libraries."""
    with tempfile.TemporaryDirectory() as folder:
        for number, frame in enumerate(filtered(Path(clip), "fps", "1")):
            with av.open(f"{folder}/{number:05}.jpg", "w", format="mjpeg") as out:
                stream = out.add_stream("mjpeg", rate=1, options={"q": "3", "threads": "1"})
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuvj420p"
                out.mux(stream.encode(frame.reformat(format="yuvj420p", threads=1)))
                out.mux(stream.encode(None))


def _extract(clip: str, sampler: str) -> None:
    from services.extract.child import run as extract

    times: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        job = {"path": clip, "media_id": "bench", "url": "", "source": "", "sampler": SAMPLERS[sampler], "quality": 90}

        def emit(event: dict[str, Any], lossy: bool = False) -> None:
            times.extend(event.get("shard", {}).get("time_ms", ()))

        extract({**job, "max_side": None, "max_frames": 100_000}, folder, emit)
    print(json.dumps(times))


if __name__ == "__main__":
    if sys.argv[2:] == [LIBRARIES]:
        _libraries(sys.argv[1])
    elif sys.argv[2:]:
        _extract(sys.argv[1], sys.argv[2])
    else:
        for row in run():
            print("{what}: {ratio:.2f} (target {target}; {detail})".format(**row))
