"""`lode tune`: how the scores of a node lie, and what another threshold would keep."""

from pathlib import Path

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples

LIMIT = 60


@click.command(
    epilog=examples(
        "lode tune cats good",
        "lode tune cats good --threshold 0.4 --sheet around.html",
        "lode tune cats good --prompt 'a cat'",
        "lode tune cats good --measure sharpness --threshold 60",
        "lode tune cats things --label paw",
    )
)
@click.argument("flow", shell_complete=complete_flow)
@click.argument("node")
@click.option("--prompt", help="Of a filter: the scores of this prompt, in place of the best of all.")
@click.option("--measure", help="Of a filter: sharpness, brightness, contrast, entropy, black_bars or solid.")
@click.option("--label", help="Of a detector: boxes of this label.")
@click.option("--threshold", type=float, metavar="X", help="Say what this one would keep.")
@click.option(
    "--sheet",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Pictures just over and just under the threshold, as .html or .png.",
)
@click.option("--limit", type=click.IntRange(2, 2000), default=LIMIT, show_default=True, help="Frames of the sheet.")
@asynchronous
async def tune(
    flow: str,
    node: str,
    prompt: str | None,
    measure: str | None,
    label: str | None,
    threshold: float | None,
    sheet: Path | None,
    limit: int,
) -> None:
    """Show how the scores of a node lie.

    For a filter, the best score of each frame, or a prompt's, or a measure; for a dedup, how similar duplicates are;
    for a detector, the scores of boxes. Each line says what its threshold would keep. Nothing is changed: to change
    a threshold, edit the flow and deploy it.
    """
    from lodestream.cli import output
    from lodestream.cli.instance import catalog, objects
    from lodestream.cli.tune_counts import at, histogram, parts_of
    from lodestream.cli.tune_scores import node_of, scores
    from lodestream.cli.tune_sheet import draw
    from lodestream.cli.tune_show import show
    from lodestream.errors import LodeError, Outage
    from lodestream.sheet.write import check

    if sum(map(bool, (prompt, measure, label))) > 1:
        raise click.UsageError("one of --prompt, --measure and --label at a time")
    if sheet:
        check(sheet)
    async with catalog() as ask:
        of = await node_of(ask, flow, node)
        by = scores(of, prompt, measure, label)
        if (found := await histogram(ask, by, threshold)) is None:
            raise LodeError(f"nothing that node {node} of flow {flow} has judged has {by.what}")
        change = None if threshold is None else await at(ask, by, threshold)
        parts = None if prompt or measure or label else await parts_of(ask, of)
        output.show(*show(of, by, found, parts, threshold, change))
        if sheet:
            around = by.threshold if threshold is None else threshold
            if around is None:
                raise LodeError(f"node {node} has no such threshold today: give one with --threshold")
            try:
                count = await draw(ask, objects(), of, by, around, sheet, limit)
            except Outage as why:
                raise LodeError(str(why)) from None
            output.note(f"{sheet}: {count} frames around {around:g}")
