"""The command line without a server: help, usage, errors, exit statuses, what start-up imports."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from lodestream.cli import entry
from lodestream.cli.commands import SECTIONS
from lodestream.errors import LodeError

ROOT = Path(__file__).parents[2]
FailsWith = Callable[[BaseException], int]
HEAVY = ("asyncio", "duckdb", "lodestream.bus", "msgspec", "nats", "rich", "ruamel", "services", "structlog")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LODE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LODE_DEBUG", raising=False)
    return tmp_path / "home"


def commands_of(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{path} {name}")


COMMANDS = list(commands_of(entry.lode, "lode"))
every_command = pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, cwd=ROOT, check=False)


def broken(error: BaseException) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command("broken", callback=fail)


@pytest.fixture
def fails_with(monkeypatch: pytest.MonkeyPatch) -> FailsWith:
    """Runs a command that raises."""

    def run(error: BaseException) -> int:
        monkeypatch.setitem(entry.lode.commands, "broken", broken(error))
        return entry.run(["broken"])

    return run


@every_command
def test_every_command_has_help_with_examples_of_itself(path: str, command: click.Command) -> None:
    assert command.help
    assert command.epilog
    assert "Examples:" in command.epilog
    assert path in command.epilog


@every_command
def test_every_option_says_what_it_does(path: str, command: click.Command) -> None:
    assert [o.name for o in command.params if isinstance(o, click.Option) and not o.help] == []


def test_every_command_stands_in_one_section() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(entry.lode.commands)


def test_help_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["--help"]) == 0
    commands = capsys.readouterr().out.partition("Run:")[2].partition("First steps")[0]
    assert max(map(len, commands.splitlines())) <= 80
    assert "..." not in commands


def test_start_up_imports_nothing_heavy() -> None:
    check = f"import sys; import lodestream.cli.entry; print(*[m for m in {HEAVY} if m in sys.modules])"
    ended = python("-c", check)
    assert (ended.stdout.strip(), ended.returncode) == ("", 0), ended.stderr


def test_runs_as_a_module() -> None:
    ended = python("-m", "lodestream.cli", "--version")
    assert (ended.returncode, ended.stdout[:5]) == (0, "lode ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sed"], "Did you mean 'seed'?"),
        (["status", "--wach"], "--watch"),
        (["wait", "cats", "--timeout", "soon"], "'soon' is not a duration such as 500ms, 1s or 2m"),
        (["up", "--scale", "extract"], "'extract' is not TYPE=NUMBER"),
        (["seed", "cats"], "no seeds"),
        (["seed", "cats", "x", "--kind", "vidoe"], "'vidoe' is none of: query, url"),
        (["seed", "cats", "x", "--limit", "0"], "--limit"),
        (["nodes", "intak"], "did you mean intake?"),
        (["dead", "retry"], "ID|NODE|REASON"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_a_wrong_call_is_told_and_ends_with_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert entry.run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("lode: ")
    assert said in printed.err
    assert printed.err.splitlines()[-1].startswith("Try: lode")


@pytest.mark.parametrize(
    "arguments", [["status"], ["seed", "f", "x"], ["dead", "ls"], ["flow", "ls"], ["wait", "f"], ["run", "intake"]]
)
def test_nothing_up_says_what_to_do(arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(arguments) == 1
    assert capsys.readouterr().err == f"lode: nothing is up in {home}; start it with: lode up -d\n"
    assert not home.exists()


def test_a_person_s_mistake_is_one_line(fails_with: FailsWith, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails_with(LodeError("the disk is\nfull")) == 1
    assert capsys.readouterr().err == "lode: the disk is full\n"


def test_a_mistake_of_ours_is_one_line_and_a_file(
    fails_with: FailsWith, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails_with(ZeroDivisionError("by zero")) == 1
    file = home / "logs" / "cli-error.log"
    assert capsys.readouterr().err == f"lode: unexpected ZeroDivisionError: by zero (details in {file})\n"
    assert "Traceback" in file.read_text()


def test_debugging_shows_it_at_once(fails_with: FailsWith, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        fails_with(ZeroDivisionError())


def test_an_interrupt_ends_with_130(fails_with: FailsWith, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails_with(KeyboardInterrupt()) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_pipe_is_quiet() -> None:
    call = f"{sys.executable} -m lodestream.cli nodes | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", call], capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.stderr in ("", "\nOne of them in full: lode nodes TYPE\n")
    assert ended.returncode in (0, 1)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["completion", shell]) == 0
    assert "_LODE_COMPLETE" in capsys.readouterr().out


def test_completion_knows_commands_and_node_types() -> None:
    def complete(words: str, number: int) -> str:
        ended = python("-m", "lodestream.cli", _LODE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number))
        return ended.stdout

    assert "plain,status" in complete("lode sta", 1)
    assert "plain,intake" in complete("lode nodes in", 2)
    assert complete("lode seed c", 2).strip() == ""
