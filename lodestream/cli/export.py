"""`lode export`: what a flow has collected, in files of its own."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lodestream.cli.commands import asynchronous, complete_flow, examples

if TYPE_CHECKING:
    from lodestream.bus import Bus


@click.group(epilog=examples("lode export records prices", "lode export records prices --since 1d -o /data"))
def export() -> None:
    """Write what a flow has collected into files.

    No file is ever written over.
    """


@export.command(
    epilog=examples(
        "lode export records prices",
        "lode export records prices --node shop --since 2026-01-31",
        "lode export records prices -o /data/prices.jsonl",
    )
)
@click.argument("flow", shell_complete=complete_flow)
@click.option("--node", help="Records of this node only.")
@click.option("--since", metavar="TIME", help="Records stored since then: 2h, 1d, or a date as 2026-01-31.")
@click.option("-o", "target", type=click.Path(path_type=Path), default=Path(), help="A folder, or a new file.")
@asynchronous
async def records(flow: str, node: str | None, since: str | None, target: Path) -> None:
    """Write records as JSON lines, in the order in which they were stored.

    Each line has the record as `data`, and where it comes from. A file in a folder is named by flow and time.
    """
    from lodestream.cli import output
    from lodestream.cli.instance import operator
    from lodestream.cli.wording import plural
    from lodestream.newfile import new_file

    start, (folder, names) = _time(since), _target(target, "-".join(filter(None, (flow, node))))
    written = 0
    async with operator() as bus:
        with new_file(folder, names) as (file, finish):
            async for line in lines(bus, flow, node, start):
                file.write(line + b"\n")
                written += 1
            path = finish() if written else None
    if path is None:
        output.note(f"no records{f' of node {node}' if node else ''} in flow {flow}{' since then' if since else ''}")
    else:
        output.show(str(path))
        output.note(f"{plural(written, 'record')} written")


async def lines(bus: "Bus", flow: str, node: str | None, since: datetime | None) -> AsyncIterator[bytes]:
    """Records of a flow in the order of its stream, each a line of JSON. Raises LodeError where there is no flow."""
    import msgspec
    from nats.js.api import ConsumerConfig, DeliverPolicy
    from nats.js.errors import NotFoundError

    from lodestream.bus.reader import held
    from lodestream.cli import instance
    from lodestream.flow import store
    from lodestream.registry import node_types
    from proto import subjects
    from proto.messages import Record

    js, objects = bus.nc.jetstream(), instance.objects()
    try:
        await js.stream_info(subjects.stream(flow))
    except NotFoundError:
        await store.refuse(bus.nc, flow)
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
    if since:
        config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=since)
    for port in sorted({p for kind in node_types().values() for p, given in kind.gives.items() if given is Record}):
        wire = subjects.wire(flow, "*", node or "*", port)
        async for msg in held(js, subjects.stream(flow), wire, config):
            if since and msg.metadata.timestamp < since:
                continue  # the server takes a time that is far off for any
            try:
                record = msgspec.json.decode(msg.data, type=Record)
            except msgspec.MsgspecError:
                continue  # a dead letter of the catalog's
            data = await objects.get(record.object_key) if record.object_key else bytes(record.data)
            yield msgspec.json.encode(_line(record, msg, data))


def _line(record: Any, msg: Any, data: bytes) -> dict[str, Any]:
    """What a line says: the record, and its lineage."""
    import msgspec

    from proto import subjects

    address = subjects.parse(msg.subject)
    return {
        "id": record.id,
        "data": msgspec.Raw(msgspec.json.format(data, indent=-1)),
        "flow": address.flow,
        "node": address.node,
        "seed": record.seed,
        "source": record.source,
        "position": record.position,
        "labels": record.labels,
        "at": msg.metadata.timestamp.astimezone(UTC).isoformat(timespec="milliseconds"),
        "seq": msg.metadata.sequence.stream,
        "cause": record.cause,
        "digest": record.digest,
        "page": record.page,
    }


def _target(target: Path, what: str) -> tuple[Path, Iterator[str]]:
    """The folder of the file, and the names that it may have. Raises LodeError where that cannot be."""
    from lodestream.errors import LodeError

    if target.is_dir():
        stem = f"records-{what}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        return target, (f"{stem}{'' if n == 1 else f'-{n}'}.jsonl" for n in count(1))
    if target.exists() or target.is_symlink():
        raise LodeError(f"{target} is there already and is not written over; give another name")
    if not target.parent.is_dir():
        raise LodeError(f"there is no folder {target.parent}")
    return target.parent, iter([target.name])


def _time(since: str | None) -> datetime | None:
    from lodestream.units import Duration

    if since is None:
        return None
    try:
        return datetime.now(UTC) - timedelta(seconds=Duration.parse(since))
    except (ValueError, OverflowError):
        pass
    try:
        then = datetime.fromisoformat(since)
    except ValueError:
        why = f"{since!r} is neither a time such as 2026-01-31 nor a span such as 2h"
        raise click.BadParameter(why, param_hint="--since") from None
    return then if then.tzinfo else then.replace(tzinfo=UTC)
