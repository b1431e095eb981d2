"""Becomes the Triton server of a home: on a socket file that only its owner may reach, with no model loaded.

Triton knows no password, and whoever may load models may run code: so it listens on no port. Those who infer load the
models that they need.
"""

import os
import shutil
import sys
from pathlib import Path

from lodestream.errors import LodeError
from lodestream.local import triton
from lodestream.local.home import Home

BACKEND = Path(__file__).parents[2] / "deploy" / "triton" / "onnxruntime"
EXIT_LIMIT = 5
"""Seconds that what is in hand has when the server ends."""
SHARED = Path("/dev/shm")
"""Where Triton and its backends exchange tensors; files that a killed server leaves there hold memory."""


def main() -> None:
    """Become the server of the home that the environment names."""
    home = Home.find()
    try:
        home.models.mkdir(parents=True, exist_ok=True)
        prepare(home)
        os.execve(triton.server(), command(home), triton.environment())
    except (OSError, LodeError) as error:
        sys.exit(f"Triton does not start: {error}")


def command(home: Home) -> list[str]:
    """The server's command line."""
    folder = home.triton_folder()
    return [
        str(triton.server()),
        f"--model-repository={home.models}",
        f"--backend-directory={folder / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={_shared(home)}",
        "--model-control-mode=explicit",
        f"--grpc-address=unix:{folder / 'grpc'}",
        "--grpc-port=1",
        "--allow-http=false",
        "--allow-metrics=false",
        "--log-info=false",
        "--pinned-memory-pool-byte-size=0",
        f"--exit-timeout-secs={EXIT_LIMIT}",
    ]


def prepare(home: Home) -> None:
    """Make the folder that Triton looks for backends in, and remove what a killed server left.

    Raises LodeError where somebody else has the folder.
    """
    folder = home.triton_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise LodeError(f"{folder} belongs to somebody else; remove it, or name another place by LODE_HOME")
    folder.chmod(0o700)
    shutil.rmtree(folder / "backends", ignore_errors=True)
    python = folder / "backends" / "python"
    shutil.copytree(triton.wheel() / "backends" / "python", python)
    shutil.copy(triton.stub(), python)
    shutil.copytree(BACKEND, folder / "backends" / BACKEND.name, ignore=shutil.ignore_patterns("__pycache__"))
    for left in SHARED.glob(f"{_shared(home)}*"):
        left.unlink(missing_ok=True)


def _shared(home: Home) -> str:
    """What the names of this home's files in SHARED begin with."""
    return f"lode-{home.instance().id}-"


if __name__ == "__main__":
    main()
