"""What of a node can be tuned: the numbers by which it decides, and who passes at another threshold."""

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from lodestream.cli.lineage import quoted
from lodestream.cli.sheet_nodes import Chooser
from lodestream.errors import LodeError

if TYPE_CHECKING:
    from lodestream.cli.instance import Ask

SETTINGS = "select node_type, settings::varchar from flow_nodes where flow = {flow} and node = {node}"
NUMBERS = "select *, {value} as value, {passes} as passes from {table} where {mine} and value is not null"
OPTIONS = {"kept": ("--prompt", "--measure"), "unique": (), "boxes": ("--label",)}
"""By the kind of message that a node gives."""
DOES = {"kept": "filters", "unique": "compares frames", "boxes": "looks for boxes"}
FRAMES = ("frames", "kept", "would be kept")
BITS = 64
"""Of a perceptual hash."""
NEW_RUN = "a lower threshold needs a run: {} is not stored"


class Node(NamedTuple):
    """A node as it is deployed."""

    flow: str
    name: str
    kind: str
    """Of the messages that it gives."""
    settings: Any
    """With their defaults; None where the flow is not deployed, or its type is not installed."""

    @property
    def mine(self) -> str:
        """SQL for its rows."""
        return f"flow = {quoted(self.flow)} and node = {quoted(self.name)}"

    def get(self, name: str) -> Any:
        """One setting, None where it has none such."""
        return getattr(self.settings, name, None)


class Scores(NamedTuple):
    """Numbers of one node, and how it decides by them."""

    what: str
    """In words: `the best score of the prompts to keep`."""
    things: str
    """What has them: frames, duplicates, boxes."""
    passed: str
    """What those are that pass: kept, known, found."""
    would: str
    """What those do that are counted by a threshold: `would be kept`."""
    source: str
    """A query: where each frame lies, its `value`, whether it `passes` today, and whether it `could` at another
    threshold."""
    threshold: float | None
    """Today's; None where there is none."""
    setting: str = "threshold"
    """That sets it; empty where none does."""
    upwards: bool = True
    """Whether what is at or over the threshold passes."""
    caveat: str = ""
    """What cannot be told of another threshold."""


async def node_of(ask: "Ask", flow: str, name: str) -> Node:
    """Raises LodeError where there is nothing to tune."""
    kinds = await Chooser(ask, flow).nodes()
    if kinds.get(name) not in OPTIONS:
        fit = [node for node, kind in kinds.items() if kind in OPTIONS]
        others = f"those that have: {', '.join(fit)}" if fit else "none of its nodes has"
        raise LodeError(f"node {name!r} of flow {flow} has judged no frames; {others}")
    rows = (await ask(SETTINGS.format(flow=quoted(flow), node=quoted(name)))).rows
    return Node(flow, name, kinds[name], _settings(*rows[0]) if rows else None)


def _settings(node_type: str, given: str) -> Any:
    from lodestream.registry import node_types

    declaration = node_types().get(node_type)
    return declaration.read_settings(json.loads(given)) if declaration else None


def scores(node: Node, prompt: str | None, measure: str | None, label: str | None) -> Scores:
    """What the options name. Raises LodeError for one that is not for this node."""
    given = {"--prompt": prompt, "--measure": measure, "--label": label}
    if wrong := [option for option, value in given.items() if value and option not in OPTIONS[node.kind]]:
        raise LodeError(f"{wrong[0]} is not for node {node.name}, which {DOES[node.kind]}")
    if node.kind == "unique":
        return _similarity(node)
    if node.kind == "boxes":
        return _boxes(node, label)
    return _measure(node, measure) if measure else _prompt(node, prompt) if prompt else _best(node)


def _best(node: Node) -> Scores:
    """The threshold is the first thing that is asked of a score: a dropped frame under it may pass all the others."""
    today, drop = node.get("threshold"), node.get("drop")
    over = ", ".join(f"scores[{quoted(prompt)}]" for prompt in drop or ())
    rest = f"score - greatest({over}) >= {node.get('margin') or 0.0!r}" if drop else "true"
    could = "kept" if today is None else f"kept or (score < {today!r} and {rest})"
    caveat = f"top_k, {node.get('top_k')} a video, may then choose others" if node.get("top_k") else ""
    source = _judged(node, "score", could)
    return Scores("the best score of the prompts to keep", *FRAMES, source, today, caveat=caveat)


def _prompt(node: Node, prompt: str) -> Scores:
    """Where there are prompts to keep, those to drop have no threshold: they are compared with the former."""
    known = [*(node.get("keep") or ()), *(node.get("drop") or ())]
    if known and prompt not in known:
        raise LodeError(f"node {node.name} is not asked for {prompt!r}; its prompts: {', '.join(map(repr, known))}")
    today = node.get("threshold") if prompt in known[: len(node.get("keep") or ()) or None] else None
    source = _judged(node, f"scores[{quoted(prompt)}]", "true")
    return Scores(f"the score of {prompt!r}", "frames", "kept", "at or over it", source, today)


def _measure(node: Node, name: str) -> Scores:
    upwards = hasattr(node.settings, f"min_{name}") or not hasattr(node.settings, f"max_{name}")
    setting = f"{'min' if upwards else 'max'}_{name}"
    today = node.get(setting)
    could = "kept" if today is None else f"kept or value {'<' if upwards else '>'} {today!r}"
    caveat = "" if today is None else "what else would be asked of frames that it drops today is not known"
    known = setting if hasattr(node.settings, setting) else ""
    source = _judged(node, f"measures[{quoted(name)}]", could)
    return Scores(name, *FRAMES, source, today, known, upwards, caveat)


def _judged(node: Node, value: str, could: str) -> str:
    numbers = NUMBERS.format(value=value, passes="kept", table="judged", mine=node.mine)
    return f"select *, {could} as could from ({numbers})"


def _similarity(node: Node) -> Scores:
    phash = node.get("mode") == "phash"
    today = 1 - node.get("bits") / BITS if phash else node.get("threshold")
    source = NUMBERS.format(value="similarity", passes="true", table="duplicates", mine=node.mine)
    if node.get("mode") == "both":
        source += " and method = 'vectors'"
    caveat = f"{NEW_RUN.format('how similar new frames are')}; at a higher one more frames are there to be repeated"
    setting = "bits" if phash else "threshold"
    source = f"select *, true as could from ({source})"
    return Scores("similarity", "duplicates", "known", "would be known", source, today, setting, True, caveat)


def _boxes(node: Node, label: str | None) -> Scores:
    today = node.get("threshold")
    source = NUMBERS.format(value="score", passes="true", table="boxes", mine=node.mine)
    what, setting = "the score of boxes", "threshold"
    if label:
        today, setting = (node.get("thresholds") or {}).get(label, today), f"threshold of {label!r}"
        source, what = f"{source} and label = {quoted(label)}", f"the score of boxes of {label!r}"
    caveat = NEW_RUN.format("a box that is under today's")
    source = f"select *, true as could from ({source})"
    return Scores(what, "boxes", "found", "would be found", source, today, setting, True, caveat)
