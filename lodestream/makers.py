"""Who made an object, from what, and how to have it made once more."""

from typing import Any

import msgspec
import nats.js.errors
from nats.js import JetStreamContext

from lodestream import deadletters
from lodestream.blobs import Blob
from lodestream.errors import LodeError
from lodestream.memo import Memo
from lodestream.objects import Objects
from proto import ids, subjects
from proto.messages import Again, Rejected


class Said(msgspec.Struct):
    """What any message says of its object and its origin."""

    id: str = ""
    recipe: str = ""
    cause: str = ""
    object_key: str = ""
    bytes: int = 0
    sha256: str = ""

    @property
    def blob(self) -> Blob:
        """The object that it speaks of."""
        return Blob(self.object_key, self.bytes, self.sha256)


said = msgspec.json.Decoder(Said).decode


async def offer_to_maker(js: JetStreamContext, subject: str, cause: str, wanted: str, number: int) -> tuple[int, bool]:
    """Offer to the node that published `subject` what it made that from, the message on `cause`; `wanted` is a key.

    Gives the sequence of the offer, and whether it was not made before. Raises LodeError where that cannot be done.
    """
    if not cause or subjects.is_seed(cause):
        raise LodeError(f"{subject} was made from no message: publish its seed again")
    made = subjects.parse(subject)
    data = await _stored(js, cause)
    if data is None:
        raise LodeError(f"{subject}: what it was made from is gone: {cause}")
    port = deadletters.offered_on(made.flow, made.type, made.node, cause, number)
    again = Again(id=said(data).id, subject=cause, input=msgspec.Raw(data), cause=subject, wanted=wanted)
    new = await deadletters.offer(js, port, again)
    return (await js.get_last_msg(subjects.stream(made.flow), port)).seq or 0, new


async def what_came(js: JetStreamContext, objects: Objects, subject: str, needs: Said) -> str:
    """What the maker of `subject` has to say where it did not make what that message says."""
    maker, source = subjects.parse(subject), said(await _stored(js, needs.cause) or b"{}")
    manifest = await Memo(objects, maker.type, needs.recipe).read(source.id)
    for made in manifest.outputs if manifest else ():
        other = said(made.message)
        if other.id == needs.id and other.sha256 != needs.sha256:
            return f"its source has other bytes now, sha256 {other.sha256}, not {needs.sha256}"
    if manifest and manifest.rejected:
        return f"node {maker.node} refuses it now: {manifest.rejected.reason}: {manifest.rejected.detail}"
    refused = ids.entity(source.id, needs.recipe)
    no = await _stored(js, subjects.output(maker.flow, maker.type, maker.node, subjects.REJECTED, refused))
    if no is None:
        return f"node {maker.node} has other settings now, and makes something else"
    refusal = msgspec.json.decode(no, type=Rejected)
    return f"node {maker.node} refuses it now: {refusal.reason}: {refusal.detail}"


async def _stored(js: JetStreamContext, subject: str) -> bytes | None:
    """The output on this subject, if there is one."""
    try:
        return (await js.get_last_msg(subjects.stream(subjects.parse(subject).flow), subject)).data
    except nats.js.errors.NotFoundError:
        return None


def passed(info: dict[str, Any], seq: int) -> bool:
    """Whether a consumer, as JetStream describes it, has had all up to `seq` acked."""
    idle = not info["num_pending"] and not info["num_ack_pending"]
    return bool(idle or info["ack_floor"]["stream_seq"] >= seq)
