"""Fuzz: ten thousand malformed seeds, messages, flow files and command lines, and a clear refusal each.

`python -m tests.faults.fuzz --seed 1`. No traceback; words that are bounded and say what is wrong, or where.
"""

import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import click
from nats.aio.msg import Msg

from lodestream.bus import Delivery
from lodestream.cli import entry
from lodestream.errors import Malformed
from lodestream.flow.lint import lint
from lodestream.registry import node_types
from lodestream.runner import Runner
from proto import ids
from proto.messages import encode
from services.intake.node import read
from tests.faults import figures, garbage
from tests.faults.fuzz_workers import fuzz_workers
from tests.support.cli import run_lode_anyhow

FULL, SHORT = 10_000, 400
LONGEST = 1000
"""Letters of a refusal."""
SHARES = {"seeds": 0.35, "messages": 0.3, "flow files": 0.15, "command lines": 0.12}
"""Of the cases; the rest go through real workers."""
NOT_RUN = ("lode demo", "lode up", "lode test", "lode bench", "lode completion", "lode doctor")
"""Commands that do something, whatever they are told, or take what pytest takes."""


class Case(NamedTuple):
    """What became of one case: `refused` or `taken`, and the words of the refusal."""

    fate: str
    said: str


def seed(rng: random.Random) -> Case:
    """One payload through intake's own code."""
    try:
        good, bad = read(garbage.seed(rng))
    except Malformed as no:
        return Case("refused", f"{no.reason}: {no.detail}")
    assert all(ids.is_token(one.id) and encode(one) for one in good)
    return Case("refused" if bad else "taken", "\r".join(f"{no.reason}: {no.detail}" for _, no in bad[:20]))


def message(rng: random.Random) -> Case:
    """One message through a runner's reading."""
    examples = garbage.examples()
    kind = rng.choice(list(examples))
    data = garbage.message(rng, examples[kind])
    if again := rng.random() < 0.2:
        data = b'{"type":"again","id":"x","subject":"a.b","input":' + data + b"}"
    nothing: Any = None
    node = node_types()[kind]
    runner = Runner("t", "mine", node, *[Mock()] * 6)
    msg = Msg(nothing, f"flow.t.{kind}.mine.{'again' if again else 'out'}.x", "$JS.ACK.FLOW_t.c.1.1.1.1.0", data)
    try:
        runner._read(Delivery(msg, nothing, 0, nothing))
    except Malformed as no:
        return Case("refused", f"{no.reason}: {no.detail}")
    return Case("taken", "")


def flow_file(rng: random.Random) -> Case:
    """One text through the lint."""
    text = garbage.flow(rng)
    flow, problems = lint(text)
    assert bool(flow) != bool(problems)
    lines = text.count("\n") + 2
    assert all(1 <= p.line <= lines + 1 and p.column >= 1 for p in problems), problems
    return Case("taken" if flow else "refused", "\r".join(p.message for p in problems[:20]))


def command_line(rng: random.Random, folder: Path) -> Case:
    """One command with arguments that make no sense, where nothing is up."""
    path, command = rng.choice(COMMANDS)
    options = [name for p in command.params for name in p.opts if name.startswith("-")]
    given = [*path.split()[1:], *garbage.arguments(rng, options)]
    status, printed = run_lode_anyhow(folder / "home", *given)
    where = f"{given}: {status}\n{printed.stdout[-500:]}\n{printed.stderr[-2000:]}"
    assert status in (0, 1, 2), where
    assert "Traceback" not in printed.stdout + printed.stderr, where
    assert "lode: unexpected " not in printed.stderr, where
    if status == 0:
        return Case("taken", "")
    lines = [line for line in printed.stderr.splitlines() if line.startswith("lode: ")]
    assert len(lines) == 1, where
    return Case("refused", lines[0])


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        elif f"{path} {name}" not in NOT_RUN:
            yield f"{path} {name}", command


COMMANDS = list(_commands(entry.lode, "lode"))


def many(kind: str, seed: int, count: int, one: Callable[[random.Random], Case]) -> dict[str, Any]:
    """So many cases of a kind: how many were refused, the slowest. Raises AssertionError, naming the case."""
    fates, slowest = Counter[str](), (0.0, 0)
    for number in range(count):
        started = time.monotonic()
        try:
            case = one(random.Random(f"{kind} {seed} {number}"))
            for words in case.said.split("\r"):
                assert len(words) <= LONGEST, f"{len(words)} letters: {words[:300]}"
                assert "\n" not in words, words
                words.encode()
        except Exception as error:
            raise AssertionError(f"{kind}, seed {seed}, case {number}: {type(error).__name__}: {error}") from error
        fates[case.fate] += 1
        slowest = max(slowest, (time.monotonic() - started, number))
    return {f"{kind} refused": fates["refused"], f"{kind} taken": fates["taken"], f"{kind} slowest s": slowest[0]}


def run(folder: Path, seed_: int, count: int) -> dict[str, Any]:
    """All kinds; what was seen."""
    parts: dict[str, Callable[[random.Random], Case]] = {
        "seeds": seed,
        "messages": message,
        "flow files": flow_file,
        "command lines": lambda rng: command_line(rng, folder),
    }
    found: dict[str, Any] = {"cases": count}
    (folder / "cwd").mkdir()
    with chdir(folder / "cwd"):
        for kind, one in parts.items():
            found |= many(kind, seed_, int(count * SHARES[kind]), one)
    left = count - sum(int(count * share) for share in SHARES.values())
    found |= asyncio.run(fuzz_workers(folder, seed_, left))
    return found


def main() -> None:
    """The long form, or the short one."""
    given = figures.arguments(__doc__ or "")
    os.environ["NO_COLOR"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), given.seed, SHORT if given.short else FULL)
    figures.keep("fuzz", given.seed, found)


if __name__ == "__main__":
    main()
