"""How an instance's status looks: tables on a terminal and in a pipe alike."""

from typing import TYPE_CHECKING, Any

from lodestream.cli.output import Cell, Mark, table
from lodestream.cli.wording import ago, plural, size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lodestream.runs import Run
    from lodestream.stages import Stage
    from lodestream.status import FlowStatus, NodeStatus, Status
    from proto.messages import Scaled

HEADS = ["", "node", "type", "workers", "waiting", "in flight", "gave", "known", "rejected", "dead", "now"]
BARS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
"""Least to most."""
SHOWN = 2
"""Entities in hand that a node's line names."""
REASONS = 5
"""Reasons for which frames are dropped that a line names."""


def whole(status: "Status") -> "list[RenderableType]":
    """Everything, a part after the other."""
    parts: list[RenderableType] = [heading(status)]
    for flow in status.flows:
        parts += ["", flow_heading(flow), flow_table(flow), *map(stage, flow.stages), *flow_yield(flow)]
    if not status.flows and status.nats_answers:
        parts += ["", "No flow is deployed."]
        parts += ['Write one: lode flow new cats --query "cat jumps"; put it to work: lode flow deploy cats.yaml']
    parts += ["", processes(status), *map(scaled, status.scaling)]
    return parts + problems(status)


def heading(status: "Status") -> str:
    """Where, since when, how much room."""
    state = f"up, started {ago(status.since)}" if status.ready else "starting"
    free = f"; {size(status.disk.free)} free" if status.disk else ""
    return f"{status.home}: {state}; NATS at {status.nats_url}{free}"


def flow_heading(flow: "FlowStatus") -> "RenderableType":
    """A flow's name and how much it holds."""
    from rich.text import Text

    behind = flow.catalog_behind
    catalog = (
        "not read by the catalog" if behind is None else f"catalog {behind:,} behind" if behind else "in the catalog"
    )
    return Text.assemble(
        (flow.flow, "bold"), f"  changed {ago(flow.at)}, {plural(flow.messages, 'message')}, {catalog}"
    )


def flow_table(flow: "FlowStatus") -> "RenderableType":
    """A line for each node."""
    return table(HEADS, [_node(node) for node in flow.nodes])


def stage(stage: "Stage") -> str:
    """`  good: 18 of 36 frames; 12 blurred, 6 no prompt over 0.3`"""
    boxes = "" if stage.boxes is None else f"{plural(stage.boxes, 'box', 'boxes')} in "
    why = [f"{count:,} {reason}" for reason, count in stage.dropped.items()]
    if (more := len(why) - REASONS) > 0:
        why[REASONS:] = [f"{sum(list(stage.dropped.values())[REASONS:]):,} for {plural(more, 'other reason')}"]
    said = f"  {stage.node}: {boxes}{stage.frames:,} of {plural(stage.frames_in, 'frame')}"
    return f"{said}; {', '.join(why)}" if why else said


def flow_yield(flow: "FlowStatus") -> "list[RenderableType]":
    """New videos by the hour, and what has run dry."""
    from rich.text import Text

    new = flow.new_videos
    if new is None or not (flow.messages and (any(new) or flow.dry)):
        return []
    most = max(*new, 1)
    bars = "".join(BARS[-(-count * (len(BARS) - 1) // most)] for count in new)
    said = f"  new videos: {new[-1]:,} this hour, {sum(new):,} in {len(new)} h  {bars}"
    return [said, *(Text(f"  {line}", "warn") for line in flow.dry)]


def run_summary(run: "Run") -> "list[RenderableType]":
    """What the newest seeds brought, or why they brought nothing."""
    from rich.text import Text

    refused = ", ".join(f"{count:,} {reason}" for reason, count in run.rejected.items())
    seeds = f"{plural(run.seeds, 'new seed')}, {plural(run.dead, 'dead letter')}"
    lines: list[RenderableType] = [
        f"since {run.since[:19].replace('T', ' ')} UTC, in this run:",
        f"  published  {plural(run.published, 'message')}: {seeds}",
        f"  offered    {plural(run.offered, 'video')}: {run.candidates:,} new, {run.known:,} skipped because known",
        f"  got        {plural(run.videos, 'new video')} ({size(run.bytes)}), {plural(run.frames, 'new frame')}",
    ]
    if run.kept or run.uniques or run.boxes:
        kept, boxes = plural(run.kept, "frame"), plural(run.boxes, "box", "boxes")
        lines.append(f"  saw        {kept} to keep, {run.uniques:,} new to the flow, {boxes}")
    if run.records_offered:
        known = max(run.records_offered - run.records, 0)
        offered = plural(run.records_offered, "record")
        lines.append(f"  records    {offered}: {run.records:,} new, {known:,} skipped because known")
    if refused:
        lines.append(f"  rejected   {refused}")
    if why := run.nothing_new:
        lines.append(Text(f"Nothing new: {why}.", "warn"))
    return lines


def _node(node: "NodeStatus") -> list[Cell]:
    missing = node.waiting and not node.workers and not node.paused
    workers: Cell = Mark("none", "warn") if missing else node.workers
    dead: Cell = Mark(f"{node.dead:,}", "bad") if node.dead else node.dead
    return [
        "",
        node.name,
        node.type,
        workers,
        node.waiting,
        node.in_flight,
        node.given,
        node.known,
        node.rejected,
        dead,
        _now(node),
    ]


def _now(node: "NodeStatus") -> Cell:
    """What it is at, or what keeps it from that."""
    if node.waits_for:
        return Mark(f"waits: {node.waits_for}", "warn")
    if node.paused:
        return Mark("paused", "warn")
    named = [f"{how_far(fields)} {entity}".lstrip() for entity, fields in _told_first(node.live)[:SHOWN]]
    more = len(node.live) - SHOWN
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _told_first(live: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """What is in hand, that of which something is told before what only waits its turn."""
    return sorted(live.items(), key=lambda item: not item[1])


def how_far(fields: dict[str, Any]) -> str:
    """A handler's report in words: `34 %`, `1.2 MB`, `12 frames`."""
    done, total = fields.get("bytes"), fields.get("total")
    if isinstance(done, int | float) and isinstance(total, int | float) and total > 0:
        return f"{min(done / total, 1):.0%}".replace("%", " %")
    if isinstance(done, int | float):
        return size(done)
    return " ".join(f"{value} {name}" for name, value in fields.items())


def processes(status: "Status") -> str:
    """Which processes run, in one line; those that do not by themselves."""
    running = [p.name for p in status.processes if p.state == "running"]
    others = [f"{p.name} {p.state}" for p in status.processes if p.state != "running"]
    return "running: " + ", ".join(running) + (f"; not running: {', '.join(others)}" if others else "")


def scaled(change: "Scaled") -> str:
    """`extract 1 -> 2, 12 s ago: 380 wait, about 95 s of work for 1`"""
    return f"{change.id} {change.before} -> {change.after}, {ago(change.at)}: {change.reason}"


def problems(status: "Status") -> "list[RenderableType]":
    """What is in the way."""
    from rich.text import Text

    return [Text(f"! {problem}", "warn") for problem in status.problems]
