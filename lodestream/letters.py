"""Dead letters of one node: what could not be done, written down with all that is needed to do it later."""

import base64
import json
import os
import socket
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from lodestream.bus import Delivery, Publisher
from lodestream.job import Refusal
from proto import ids, subjects
from proto.messages import Attempt, DeadLetter, encode

if TYPE_CHECKING:
    from lodestream.runner import Input

INPUT_KEPT = 64 << 10
"""Bytes of the input that a dead letter carries; the whole of it stays in its stream."""
HISTORY = "Lode-Attempts"
"""Header of an input that is offered once more: the attempts at it so far, in JSON."""
ATTEMPTS_KEPT, ERROR_KEPT = 32, 500
"""So many of them go with it, the newest; and so many letters of what is made up where there was none."""
WORKER = f"{socket.gethostname()}:{os.getpid()}"


def now() -> str:
    """The time as messages say it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def history(letter: DeadLetter) -> dict[str, str]:
    """What goes with an input that is offered once more: should it fail again, all of its attempts are told."""
    tried = letter.attempts or [_one(letter)]
    return {HISTORY: json.dumps(msgspec.to_builtins(tried[-ATTEMPTS_KEPT:]))}


def complete(letter: DeadLetter, headers: Mapping[str, str] | None) -> DeadLetter:
    """The letter with the attempts that were made before its input was offered once more."""
    try:
        before = msgspec.json.decode((headers or {}).get(HISTORY, "[]"), type=list[Attempt])
    except msgspec.MsgspecError:
        before = []
    if before:
        letter.attempts = [*before, *(letter.attempts or [_one(letter)])]
    return letter


def _one(letter: DeadLetter) -> Attempt:
    """What a letter says that tells of no attempts, as one."""
    why = f"{letter.reason}: {letter.detail}" if letter.detail else letter.reason
    return Attempt(letter.at, why[:ERROR_KEPT], letter.worker)


def raw_id(data: bytes) -> str:
    """The id of what somebody published, before it is known to be a seed."""
    return "seed-" + ids.digest(data, 8)


def readable(data: bytes) -> dict[str, Any]:
    """`input` and `input_encoding` of a dead letter: text where it is text, else base64; cut at 64 KiB."""
    try:
        return {"input": data.decode()[:INPUT_KEPT], "input_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"input": base64.b64encode(data[:INPUT_KEPT]).decode(), "input_encoding": "base64"}


class Letters:
    """Writes the dead letters of one node."""

    def __init__(self, flow: str, node: str, node_type: str, publisher: Publisher):
        self._flow, self._node, self._type, self._publisher = flow, node, node_type, publisher

    async def bury(
        self,
        delivery: Delivery,
        item: "Input | None",
        reason: str,
        detail: str,
        error: Exception | None = None,
        tried: Sequence[Attempt] = (),
    ) -> None:
        """Make the input a dead letter that tells of all attempts, then ack it."""
        subject, data = (item.cause, item.raw) if item else (delivery.subject, delivery.data)
        entity = raw_id(data) if subjects.is_seed(subject) else subject.rsplit(".", 1)[-1]
        trail = "".join(traceback.format_exception(error)) if error else ""
        await self._write(delivery, subject, entity, reason, detail, data, trail, tried)
        await delivery.ack()

    async def refuse(self, delivery: Delivery, refusal: Refusal) -> None:
        """Make one part of the input a dead letter."""
        entity = ids.token(refusal.entity)
        await self._write(delivery, delivery.subject, entity, refusal.reason, refusal.detail, refusal.part)

    async def _write(
        self,
        delivery: Delivery,
        subject: str,
        entity: str,
        reason: str,
        detail: str,
        data: bytes,
        trail: str = "",
        tried: Sequence[Attempt] = (),
    ) -> None:
        letter = DeadLetter(
            id=entity,
            flow=self._flow,
            node_type=self._type,
            node=self._node,
            entity=entity,
            reason=reason,
            detail=detail,
            at=now(),
            attempts=list(tried),
            deliveries=delivery.attempt,
            worker=WORKER,
            traceback=trail,
            cause=subject,
            input_subject=subject,
            input_stream=subjects.SEEDS if subjects.is_seed(subject) else subjects.stream(self._flow),
            input_seq=delivery.seq,
            **readable(data),
        )
        complete(letter, delivery.headers)
        await self._publisher.publish(subjects.dead(self._flow, self._type, self._node, entity), encode(letter))
