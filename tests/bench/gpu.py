"""Pictures per second on a GPU through the client and a Triton server, against a loop on the same GPU and batches.

`python -m tests.bench.gpu`; where there is no GPU, or onnxruntime cannot use it, it says so in one line.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lodestream.local.triton import VENV, lacks
from tests.bench.bench_triton import Loop, compare, throughput
from tests.bench.towers import add_tower
from tests.support.triton import start_triton

TARGET = 0.9
ASK = "import onnxruntime as ort; print('CUDAExecutionProvider' in ort.get_available_providers())"


def main() -> int:
    """Measure; the exit status says whether the target is met."""
    if why := hindrance():
        print(f"not measured: {why}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        server = start_triton(Path(folder))
        with server.process:
            model = add_tower(server.models, "tower", kind="KIND_GPU")
            loop = Loop(model / "1" / "model.onnx", cuda=True)
            found = throughput(asyncio.run(compare(server, loop)))
    ratio = found["ratio"]
    print(f"{ratio:.3f} of a plain loop on the same GPU (at least {TARGET}): {found['detail']}")
    return 0 if ratio >= TARGET else 1


def hindrance() -> str:
    """What keeps it from being measured, in words; empty where nothing does."""
    if not shutil.which("nvidia-smi") or not (found := _said(["nvidia-smi", "-L"])).startswith("GPU"):
        return "there is no NVIDIA GPU here"
    if lack := lacks():
        return lack
    if _said([str(VENV / "bin" / "python"), "-c", ASK]) != "True":
        gpu = found.splitlines()[0].partition(" (")[0]
        return f"{gpu} is here, but no onnxruntime-gpu: pip --python {VENV} install 'onnxruntime-gpu[cuda,cudnn]'"
    return ""


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
