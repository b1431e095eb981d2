"""The launcher on a small checkout of its own, whose lock files ask for nothing: no network is needed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "lode"
SAYS_WHAT_IT_GETS = "import sys; print(sys.argv[1:], sys.prefix)"
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-triton.lock")
NOT_TO_BE_HAD = "nothing-of-this-name==1.0 --hash=sha256:" + "0" * 64 + "\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a launcher and a command line of one line."""
    root = tmp_path / "check out"
    (root / "lodestream" / "cli").mkdir(parents=True)
    (root / "lodestream" / "cli" / "__main__.py").write_text(SAYS_WHAT_IT_GETS)
    for lock in LOCKS:
        (root / lock).write_text("# nothing\n")
    shutil.copy(LAUNCHER, root / "lode")
    return root


def run(path: Path, *arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Start it as a person would."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | env
    command = [sys.executable, path, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_installs_once_and_says_so_in_one_line(checkout: Path, tmp_path: Path) -> None:
    first, second = run(checkout / "lode", "sql", "a b"), run(checkout / "lode", "sql", "a b", cwd=tmp_path)
    assert first.stdout == second.stdout == f"{['sql', 'a b']} {checkout}/.venv\n"
    assert first.stderr.startswith("lode: installing into")
    assert (first.stderr.count("\n"), second.stderr) == (1, "")


def test_works_through_a_link_and_past_a_folder_of_the_same_names(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "lode").symlink_to(checkout / "lode")
    (tmp_path / "lodestream").mkdir()
    (tmp_path / "lodestream" / "__init__.py").write_text("raise SystemExit('not ours')")
    done = run(tmp_path / "bin" / "lode", cwd=tmp_path)
    assert done.stdout == f"[] {checkout}/.venv\n"


def test_installs_again_when_the_lock_changes_or_the_checkout_moves(checkout: Path) -> None:
    run(checkout / "lode")
    (checkout / "requirements.lock").write_text("# nothing, still\n")
    assert "installing" in run(checkout / "lode").stderr
    moved = checkout.rename(checkout.with_name("moved"))
    done = run(moved / "lode")
    assert (done.stdout, "installing" in done.stderr) == (f"[] {moved}/.venv\n", True)


def test_what_developers_need_is_installed_for_them_only(checkout: Path) -> None:
    run(checkout / "lode")
    assert not (checkout / ".venv" / "requirements-dev.lock.installed").exists()
    assert "installing" in run(checkout / "lode", "test").stderr
    assert run(checkout / "lode", "test").stderr == ""


def test_triton_is_installed_beside_for_what_infers(checkout: Path) -> None:
    run(checkout / "lode", "models", "ls")
    assert not (checkout / ".venv-triton").exists()
    first, second = run(checkout / "lode", "models", "pull", "x"), run(checkout / "lode", "demo")
    assert f"installing into {checkout}/.venv-triton" in first.stderr
    assert (first.stdout, second.stderr) == (f"{['models', 'pull', 'x']} {checkout}/.venv\n", "")


def test_where_triton_cannot_be_had_the_rest_goes_on(checkout: Path) -> None:
    (checkout / "requirements-triton.lock").write_text(NOT_TO_BE_HAD)
    done = run(checkout / "lode", "demo", PIP_NO_INDEX="1")
    assert (done.returncode, done.stdout) == (0, f"{['demo']} {checkout}/.venv\n")
    assert done.stderr.splitlines()[-1].startswith("lode: goes on without Triton")


def test_two_at_once_install_once(checkout: Path) -> None:
    both = [
        subprocess.Popen([sys.executable, checkout / "lode"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate() for process in both]
    assert [out for out, _ in told] == [f"[] {checkout}/.venv\n"] * 2
    assert "".join(err for _, err in told).count("installing") == 1


def test_a_package_that_cannot_be_had_is_told_with_pips_words_and_then_mended(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text(NOT_TO_BE_HAD)
    done = run(checkout / "lode", PIP_NO_INDEX="1")
    assert done.returncode == 1
    assert "No matching distribution" in done.stderr
    assert "start lode again" in done.stderr.splitlines()[-1]
    (checkout / "requirements.lock").write_text("# nothing\n")
    assert run(checkout / "lode").returncode == 0


def test_an_installation_cut_short_is_made_anew(checkout: Path) -> None:
    run(checkout / "lode", "test")
    (checkout / ".venv" / "unfinished").touch()
    (checkout / ".venv" / "half").touch()
    (checkout / "requirements.lock").write_text("# changed\n")
    assert run(checkout / "lode", "test").returncode == 0
    assert not (checkout / ".venv" / "half").exists()
    assert run(checkout / "lode", "test").stderr == ""


def test_a_checkout_that_cannot_be_written_to_is_one_line(checkout: Path) -> None:
    (checkout / ".venv").write_text("a file")
    done = run(checkout / "lode")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("lode: cannot write to")
    assert "Traceback" not in done.stderr


def test_a_python_that_is_too_old_says_so(checkout: Path, tmp_path: Path) -> None:
    """Played by a launcher that asks for a Python yet to come."""
    (checkout / "lode").write_text((checkout / "lode").read_text().replace("(3, 11), (3, 14)", "(3, 97), (3, 98)"))
    done = run(checkout / "lode")
    assert (done.returncode, done.stdout) == (1, "")
    assert "needs 3.97 or newer" in done.stderr
    assert done.stderr.count("\n") == 1


def test_lock_files_name_no_place_and_hash_everything() -> None:
    for lock in LOCKS:
        lines = LAUNCHER.with_name(lock).read_text().splitlines()
        assert not [line for line in lines if "://" in line or line.startswith("-")]
        pinned = [n for n, line in enumerate(lines) if "==" in line]
        assert all(lines[n + 1].strip().startswith("--hash=sha256:") for n in pinned)
