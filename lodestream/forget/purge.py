"""Removes what was found: effects before causes, so that what is cut short can still be followed; twice is no harm.

A flow's stream is first told which of its messages go, then they are erased: the catalog deletes their rows when it
comes to that, whether it had read them before or not.
"""

from collections.abc import Iterable, Iterator, Sequence

from nats.js.errors import APIError, NotFoundError

from lodestream.bus import Bus
from lodestream.errors import LodeError
from lodestream.forget.lineage import Lineage
from lodestream.forget.stored import strike
from lodestream.forget.survey import Found
from lodestream.letters import now
from lodestream.objects import Objects, Stat
from proto import ids, subjects
from proto.messages import Forgotten, encode

GONE = 10057
"""JetStream's refusal to erase what is not there."""
CHUNK = 20_000
"""Messages that one notice to the catalog names."""


async def purge(
    bus: Bus, objects: Objects, lineage: Lineage, found: Found, held: Iterable[Stat], manifests: Iterable[str]
) -> None:
    """Erase the messages, then remove the objects. Raises LodeError and Outage; done again, it goes on.

    What nodes remember of messages that are to be made again is found by these, so it goes before them.
    """
    for key in lineage.memos:
        await objects.delete(key)
    for stream in sorted(found.messages, key=lambda name: name != subjects.SEEDS):
        await _erase(bus, stream, found.messages[stream])
    for key in manifests:
        await strike(objects, key, lineage)
    for stat in held:
        await objects.delete(stat.key)


async def _erase(bus: Bus, stream: str, sequences: Sequence[int]) -> None:
    if stream != subjects.SEEDS:
        for some in _chunks(sequences):
            await _tell(bus, stream, some)
    js = bus.nc.jetstream(timeout=30)
    for seq in reversed(sequences):
        try:
            await js.delete_msg(stream, seq)  # overwritten on disk as well
        except APIError as error:
            if error.err_code != GONE and not isinstance(error, NotFoundError):
                raise


async def _tell(bus: Bus, stream: str, sequences: list[int]) -> None:
    """Leave a notice in a stream of which messages were forgotten; it says nothing else of them."""
    at = now()
    notice = Forgotten(id="notice-" + ids.digest(f"{at} {sequences[0]}".encode(), 8), at=at, sequences=sequences)
    subject = subjects.forgotten(stream, notice.id)
    answer = await bus.nc.request(subject, encode(notice), timeout=30)
    if b'"error"' in answer.data:
        raise LodeError(f"stream {stream} does not take the notice for the catalog: {answer.data.decode()[:300]}")


def _chunks(sequences: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(sequences), CHUNK):
        yield list(sequences[start : start + CHUNK])
