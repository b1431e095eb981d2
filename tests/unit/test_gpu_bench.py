"""Where there is no GPU, or nothing that could use it, the benchmark says so in one line."""

from pathlib import Path

import pytest

from tests.bench import gpu


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.main() == 0
    assert capsys.readouterr().out == "not measured: there is no NVIDIA GPU here\n"


def test_with_a_gpu_that_onnxruntime_cannot_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, python = tmp_path / "nvidia-smi", tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    for path, says in ((program, "GPU 0: NVIDIA H200 (UUID: GPU-1)"), (python, "False")):
        path.write_text(f"#!/bin/sh\necho '{says}'\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(gpu, "VENV", tmp_path / "venv")
    monkeypatch.setattr(gpu, "lacks", lambda: "")
    assert gpu.hindrance().startswith("GPU 0: NVIDIA H200 is here, but no onnxruntime-gpu")
