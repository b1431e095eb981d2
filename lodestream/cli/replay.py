"""`lode replay`: a node's work on a stored message, once more and without effect."""

import os

import click

from lodestream.cli.commands import asynchronous, examples


@click.command(
    epilog=examples(
        "lode replay flow.cats.fetch.get.media.youtube-dQw4w9WgXcQ_1f0c22aa",
        "lode replay FLOW_cats:12 --node frames",
        "lode replay query-cat-jumps-91c03b5a2f7e4d18",
        "LODE_DEBUG=1 lode replay FLOW_cats:12",
    )
)
@click.argument("what", metavar="SUBJECT|STREAM:SEQUENCE|ID")
@click.option("--node", default="", metavar="NODE", help="One node, where several take the message.")
@asynchronous
async def replay(what: str, node: str) -> int:
    """Run a node on a stored message.

    Nothing is published, stored or remembered; what is made is compared with what was published then: same, different
    or new. What costs something is done once more: a video that is not stored is downloaded. An ID does where only one
    message is about it. The exit status is 1 where a node fails; with LODE_DEBUG=1 a debugger opens there, and
    breakpoint() works in a node's code.
    """
    from lodestream.debug.replay import Place
    from lodestream.debug.replay import replay as run
    from lodestream.stack import current

    stack = current()
    place = Place(*stack.connection(), stack.objects(), *stack.triton())
    return await run(place, what, node, os.environ.get("LODE_DEBUG") == "1")
