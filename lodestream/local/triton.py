"""The Triton server of an instance: from the wheel in `.venv-triton`, on a socket file that only its owner may reach.

Triton knows no password, and whoever may load models may run code: so it listens on no port. It starts without a
model; those who infer load what they need.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lodestream.errors import LodeError
from lodestream.local.home import Home

TRITON = "triton"
VENV = Path(sys.prefix).with_name(".venv-triton")
"""Has what Triton and our backend need; made by the launcher from requirements-triton.lock."""
BACKEND = Path(__file__).parents[2] / "deploy" / "triton" / "onnxruntime"
INSTALLED_BY = "lode models pull NAME"
EXIT_LIMIT = 5
"""Seconds that what is in hand has when the server ends."""
SHARED = Path("/dev/shm")
"""Where Triton and its backends exchange tensors; files that a killed server leaves there hold memory."""


def is_installed() -> bool:
    """Whether there is a server to run."""
    return _server().is_file()


def lacks() -> str:
    """What keeps the server or the backend's process from running, in words; empty where nothing does. Takes 0.1 s."""
    if not is_installed():
        return f"not installed; {INSTALLED_BY} installs it"
    if not _stub().is_file():
        return f"it has nothing for Python {_version()}, which {VENV} was made with"
    for program in (_server(), _stub()):
        done = subprocess.run([program, "--help"], env=_environment(), capture_output=True, text=True, errors="replace")
        if done.returncode == 127:  # of the loader
            return done.stderr.strip().rpartition("\n")[2]
    return ""


def command(home: Home) -> list[str]:
    """The server's command line."""
    return [
        str(_server()),
        f"--model-repository={home.models}",
        f"--backend-directory={home.triton_folder() / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={_shared(home)}",
        "--model-control-mode=explicit",
        f"--grpc-address=unix:{home.triton_folder()}/grpc",
        "--grpc-port=1",
        "--allow-http=false",
        "--allow-metrics=false",
        "--log-info=false",
        f"--exit-timeout-secs={EXIT_LIMIT}",
    ]


def prepare(home: Home) -> None:
    """Make the folder that Triton looks for backends in, and remove what a killed server left.

    Raises LodeError where somebody else has the folder.
    """
    made = home.triton_folder()
    made.mkdir(mode=0o700, exist_ok=True)
    if made.is_symlink() or made.stat().st_uid != os.getuid():
        raise LodeError(f"{made} belongs to somebody else; remove it, or name another place by LODE_HOME")
    made.chmod(0o700)
    shutil.rmtree(made / "backends", ignore_errors=True)
    python = made / "backends" / "python"
    shutil.copytree(_wheel() / "backends" / "python", python)
    shutil.copy(_stub(), python)
    shutil.copytree(BACKEND, python.with_name(BACKEND.name), ignore=shutil.ignore_patterns("__pycache__"))
    for left in SHARED.glob(f"{_shared(home)}*"):
        left.unlink(missing_ok=True)


def main() -> None:
    """Become the server of the home that the environment names."""
    home = Home.find()
    try:
        home.models.mkdir(exist_ok=True)
        prepare(home)
        os.execve(_server(), command(home), _environment())
    except (OSError, LodeError) as error:
        sys.exit(f"Triton does not start: {error}")


def _shared(home: Home) -> str:
    return f"lode-{home.instance().id}-"


def _environment() -> dict[str, str]:
    """Where the programs find their libraries, and the backend the packages of its own Python."""
    site = _wheel().parents[1]
    libraries = [str(site / "nvidia_pytriton.libs"), str((VENV / "bin" / "python3").resolve().parents[1] / "lib")]
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    ours = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**ours, "LD_LIBRARY_PATH": os.pathsep.join(libraries), "PATH": path, "PYTHONNOUSERSITE": "1"}


def _server() -> Path:
    return _wheel() / "bin" / "tritonserver"


def _stub() -> Path:
    return _wheel() / "python_backend_stubs" / _version() / "triton_python_backend_stub"


def _version() -> str:
    """Of the Python in VENV."""
    return _wheel().parents[2].name.removeprefix("python")


def _wheel() -> Path:
    """What came with the wheel; a path that is not there where it is not installed."""
    found = sorted(VENV.glob("lib/python3.*/site-packages/pytriton/tritonserver"))
    return found[0] if found else VENV / "lib" / "python3" / "site-packages" / "pytriton" / "tritonserver"


if __name__ == "__main__":
    main()
