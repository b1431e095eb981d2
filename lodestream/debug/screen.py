"""What a person sees of messages, outputs and failures, and what they choose."""

import json
import sys
import traceback
from typing import Any

import msgspec

from lodestream.cli.output import clean

MANY, SHORT = 8, 200
"""Items of a list, and letters of a text, of which a part is shown."""


def say(text: str = "") -> None:
    """A line on the terminal, at once."""
    print(clean(text), flush=True)


def legible(message: Any) -> str:
    """A message as JSON, long lists and texts cut, four spaces in."""
    shown = json.dumps(_brief(msgspec.to_builtins(message)), indent=2, ensure_ascii=False)
    return "\n".join(f"    {line}" for line in shown.splitlines())


def _brief(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _brief(one) for key, one in value.items() if one not in ("", None, [], {})}
    if isinstance(value, list) and len(value) > MANY:
        return [*map(_brief, value[:3]), f"... {len(value) - 3} more"]
    if isinstance(value, list):
        return [*map(_brief, value)]
    if isinstance(value, str) and len(value) > SHORT:
        return f"{value[:SHORT]}... {len(value) - SHORT} letters more"
    return value


def choose(error: Exception, attempt: int, most: int) -> str:
    """Show a failure and ask what to do: retry, hand back, look around, or quit; without a terminal it is `q`."""
    say("".join(traceback.format_exception(error)))
    if attempt >= most:
        say(f"This was delivery {attempt} of {most}: handed back, it is a dead letter. Retrying here is free.")
    while sys.stdin.isatty():
        sys.stdout.write("[r]etry here, hand [b]ack, look around [p]ost mortem, [q]uit? ")
        sys.stdout.flush()
        answer = sys.stdin.readline()
        choice = answer.strip().lower()[:1] if answer else "q"
        if choice == "p":
            import pdb

            pdb.post_mortem(error.__traceback__)
        elif choice in ("r", "b", "q"):
            return choice
    return "q"
