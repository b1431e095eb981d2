"""Writes a flow file to start from: the whole way from a seed to frames, with the settings that people change first."""

import shlex
from collections.abc import Sequence

TEMPLATE = """\
# What happens to each seed, from top to bottom. Check it:  lode flow lint {name}.yaml
# Put it to work, now and after every change:               lode flow deploy {name}.yaml
# Give it something to look for, as often as you like:
{seeds}
# All settings of a node type, with their defaults:         lode nodes extract

flow: {name}
nodes:
  # Takes what is published on seeds.{name}: words, URLs, JSON, a file of lines.
  seeds:
    type: intake

  # Lists the videos behind each seed.
  find:
    type: discover
    from: seeds
    limit: 50            # videos of one seed

  # Downloads each video once.
  get:
    type: fetch
    from: find
    max_height: 720      # pixels
    max_duration: 30m    # longer videos are rejected
    per_host: 2          # downloads from one site at once

  # Cuts frames.
  frames:
    type: extract
    from: get
    every: {every}
"""


def new(name: str, seeds: Sequence[str] = (), every: str = "1s") -> str:
    """A commented flow file; `seeds` are searches and URLs that it names in its head, for a flow file holds none.

    It is not checked: lint it to see whether name and values are good.
    """
    named = seeds or ["words to search for", "https://example.org/a-video"]
    lines = [f"#   lode seed {name} {shlex.quote(_line(seed))}" for seed in named]
    return TEMPLATE.format(name=name, seeds="\n".join(lines), every=every)


def _line(text: str) -> str:
    """On one line, without what YAML does not allow in a comment."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
