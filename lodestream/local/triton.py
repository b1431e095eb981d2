"""Where the Triton server of this machine is: in the wheel in `.venv-triton`, beside the environment that runs this."""

import os
import subprocess
import sys
from pathlib import Path

from lodestream.local.child import Program

TRITON = "triton"
VENV = Path(sys.prefix).with_name(".venv-triton")
"""Has what Triton and our backend need; made by the launcher from requirements-triton.lock."""
COMPLETE = VENV / "requirements-triton.lock.installed"
INSTALLED_BY = "./lode models pull NAME"
UNLOADABLE = ("error while loading shared libraries", "GLIBC_")
"""What the loader of programs says where something is missing."""


def program() -> Program:
    """As a row of the process table."""
    start = [sys.executable, "-P", "-m", "lodestream.local.tritonserver"]
    return Program(name=TRITON, argv=start, needs=str(COMPLETE))


def lacks() -> str:
    """What keeps it from running here, in words; empty where nothing does. Takes a tenth of a second."""
    if not COMPLETE.exists():
        return f"Triton is not installed; {INSTALLED_BY} installs it, and starts it where an instance is up"
    if not stub().is_file():
        return f"Triton has nothing for Python {_version()}, which {VENV} was made with; it has for 3.11 to 3.13"
    for each in (server(), stub()):
        ended = subprocess.run([each, "--help"], env=environment(), capture_output=True, text=True, errors="replace")
        if any(sign in ended.stderr for sign in UNLOADABLE):
            return f"Triton does not run here: {ended.stderr.strip().splitlines()[0]}"
    return ""


def server() -> Path:
    """The server program."""
    return wheel() / "bin" / "tritonserver"


def stub() -> Path:
    """The program in which our backend runs, for the Python that it is to be run by."""
    return wheel() / "python_backend_stubs" / _version() / "triton_python_backend_stub"


def environment() -> dict[str, str]:
    """Where the programs find their libraries, and the backend the packages of its own Python."""
    libraries = [wheel().parents[1] / "nvidia_pytriton.libs", (VENV / "bin" / "python3").resolve().parents[1] / "lib"]
    path = [str(VENV / "bin"), os.environ.get("PATH", os.defpath)]  # the first python3 is asked for its packages
    ours = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    found = {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)), "PATH": os.pathsep.join(path)}
    return {**ours, **found, "PYTHONNOUSERSITE": "1"}


def wheel() -> Path:
    """What came with the wheel; a path that is not there where it is not installed."""
    below = Path("site-packages", "pytriton", "tritonserver")
    return next(iter(sorted(VENV.glob(f"lib/python3.*/{below}"))), VENV / "lib" / "python3" / below)


def _version() -> str:
    """Of the Python in VENV."""
    return wheel().parents[2].name.removeprefix("python")
