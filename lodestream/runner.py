"""One node of one flow in this worker: what becomes of each message it is handed.

Blobs first, manifest second, messages third, ack last: a crash anywhere costs at most one redo.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import msgspec
import structlog

from lodestream import trace
from lodestream.attempts import Attempts
from lodestream.bus import Delivery, Publisher
from lodestream.errors import ATTEMPTS, Malformed, Outage, Postpone, Reject, Retry
from lodestream.forget.tombs import FORGOTTEN
from lodestream.job import Job, Parts
from lodestream.letters import Letters, raw_id
from lodestream.memo import Manifest, Memo, Noted
from lodestream.node import Node, Output, Settle
from lodestream.rights import deliveries
from lodestream.tally import Tally
from proto import ids, subjects
from proto.messages import Again, Message, Rejected, seal

log = structlog.get_logger()

LONGEST_WAIT = 3600.0
"""Seconds before the next attempt at most, whatever a server asks for."""
WINDOW = 256
"""Outputs of one input that are published at once."""
NEXT_RECORD = 0.5
"""Seconds after which a worker has read the newest record of its flow."""
OUTAGE_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between looks at a part that is away."""
_AGAIN = f".{subjects.AGAIN}."

Fate = Literal["work", "skip", "later"]
"""Of an input: worked on; acked without work; handed back, for the record of its flow that is served is old."""


class Input(msgspec.Struct):
    """One delivery, decoded."""

    message: Message | None
    cause: str
    raw: bytes
    ident: str
    recipe: str = ""
    wanted: str = ""


class Runner:
    """Handles the messages of one node; `handle` never raises."""

    def __init__(
        self,
        flow: str,
        name: str,
        node: Node,
        settings: Any,
        parts: Parts,
        state: Any,
        publisher: Publisher,
        judge: Callable[[str, str, int], Awaitable[Fate]],
        stands: Callable[[], Awaitable[bool]],
        recipes: Sequence[str] = (),
    ) -> None:
        """`judge(subject, recipe, sequence)` says what becomes of an input in the flow as it is deployed now.

        `stands()` says whether the consumer that inputs come from is still that of the node. `recipes` are those of all
        that the node gives in the flow as it is deployed.
        """
        self.flow, self.name, self.node, self.settings = flow, name, node, settings
        self.parts, self.state, self.publisher, self._judge, self._stands = parts, state, publisher, judge, stands
        self._kin = frozenset(recipes)
        self.tally = Tally()
        self.letters = Letters(flow, name, node.type, publisher)
        self.attempts = Attempts(flow, name, parts.objects)
        self._deliveries = deliveries(node.type)
        self._decode = msgspec.json.Decoder(_union(node.takes)).decode if node.takes else None
        self._again = msgspec.json.Decoder(Again).decode
        self._recipes: dict[str, tuple[str, frozenset[str]]] = {}

    def counts(self) -> dict[str, Any]:
        """The tally as a message says it, with what the whole worker waits for or has trouble with."""
        waits_for = self.tally.waits_for or self.publisher.waits_for
        return {**self.tally.counts(), "waits_for": waits_for, "troubles": msgspec.to_builtins(self.parts.troubles)}

    async def handle(self, delivery: Delivery) -> None:
        """Take one message to its end: outputs, a no, another try, or a dead letter."""
        started = time.perf_counter()
        item: Input | None = None
        delivery.still_ours = self._stands
        try:
            item = self._read(delivery)
            fate = await self._judge(item.cause, item.recipe, delivery.seq)
            if fate == "work":
                await self._make(item, delivery)
            elif fate == "skip":
                await delivery.ack()
            else:
                await delivery.nak(NEXT_RECORD)
        except Malformed as error:
            await self.letters.bury(delivery, item, error.reason, error.detail)
            self.tally.dead += 1
        except Retry as error:
            await self._later(delivery, item, error, error.after)
        except Exception as error:
            log.exception("failed", flow=self.flow, node=self.name, subject=delivery.subject, attempt=delivery.attempt)
            await self._later(delivery, item, error, None)
        self.tally.seconds += time.perf_counter() - started

    def _read(self, delivery: Delivery) -> Input:
        """Raises Malformed where the message is not what this node takes."""
        if self._decode is None:
            return Input(None, delivery.subject, delivery.data, raw_id(delivery.data))
        try:
            if _AGAIN not in delivery.subject:
                message = self._decode(delivery.data)
                return Input(message, delivery.subject, delivery.data, message.id, message.recipe)
            again = self._again(delivery.data)
            message = self._decode(again.input)
            return Input(message, again.subject, bytes(again.input), message.id, message.recipe, again.wanted)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Malformed("malformed message", str(error)) from None
        except RecursionError:
            raise Malformed("malformed message", "nested too deeply") from None

    async def _make(self, item: Input, delivery: Delivery) -> None:
        """Answer from the memo or work, then ack; an outage is no message's fault, so it is held until that is over."""
        job = self._job(item, delivery)
        headers = trace.onward(delivery.headers, first=item.message is None)
        memo = Memo(self.parts.objects, self.node.type, job.recipe) if self.node.memo else None
        turn = 0
        while True:
            try:
                if delivery.attempt > 1:
                    job.attempt = 1 + len(await self.attempts.failed(delivery))
                if self.parts.forgotten.stones and self._is_forgotten(item.message):
                    await self._publish((), item, job, headers)
                elif memo and (manifest := await memo.find(item.ident, item.wanted)):
                    self.tally.remembered += 1
                    await self._publish(self._outputs_of(manifest, item), item, job, headers)
                else:
                    await self._work(item, job, memo, headers)
                break
            except Outage as why:
                await self._wait(str(why), turn)
                turn += 1
        for refusal in job.refused:
            await self.letters.refuse(delivery, refusal)
            self.tally.dead += 1
        if delivery.attempt > 1:
            await self.attempts.forget(delivery)
        await delivery.ack()
        self.tally.taken += 1
        self.tally.waits_for = ""

    def _job(self, item: Input, delivery: Delivery) -> Job:
        recipe, kin = self._recipe(item.recipe)
        return Job(
            self.flow,
            self.name,
            self.node.type,
            self.settings,
            recipe,
            item.ident,
            item.cause,
            1,
            Noted(self.parts.objects),
            self.parts,
            self.state,
            item.raw,
            wanted=item.wanted,
            kin=kin,
            line=delivery,
        )

    async def _work(self, item: Input, job: Job, memo: Memo | None, headers: dict[str, str] | None) -> None:
        """Blobs first, manifest second, messages third."""
        outputs: list[Output] = []
        no: Reject | None = None
        started = time.perf_counter()
        job.refused.clear()
        self.tally.live[item.ident] = job.progress
        try:
            async for output in self.node.handler(item.message, job):
                if memo or not self.node.streams:
                    outputs.append(output)
                if self.node.streams:
                    await self._publish((output,), item, job, headers)
        except Reject as why:
            no = why
        finally:
            self.tally.live.pop(item.ident, None)
        if self.parts.forgotten.stones and await self._unmade(item, outputs, job):
            memo = None
        if memo and job.lasting and (no is None or no.lasting):
            await memo.keep(item.ident, time.perf_counter() - started, outputs, list(job.objects.written.values()), no)
        if self.node.streams:
            outputs.clear()
        if no:
            outputs.append(self._no(no, item))
        await self._publish(outputs, item, job, headers)

    async def _wait(self, why: str, turn: int) -> None:
        if self.tally.waits_for != why:
            self.tally.waits_for = why
            log.warning("waiting", why=why, flow=self.flow, node=self.name)
        await asyncio.sleep(OUTAGE_PAUSES[min(turn, len(OUTAGE_PAUSES) - 1)])

    def _outputs_of(self, manifest: Manifest, item: Input) -> list[Output]:
        """What a manifest announces, as if it had just been made."""
        ports = self.node.ports()
        outputs: list[Output] = [
            (made.port, msgspec.json.decode(made.message, type=ports[made.port])) for made in manifest.outputs
        ]
        if manifest.rejected:
            outputs.append(self._no(Reject(manifest.rejected.reason, manifest.rejected.detail), item))
        return outputs

    def _no(self, no: Reject, item: Input) -> Output:
        source = getattr(item.message, "source", "")
        said = Rejected(id=item.ident, reason=no.reason, detail=no.detail, source=source, repeats=no.repeats)
        return subjects.REJECTED, said

    async def _publish(self, outputs: Sequence[Output], item: Input, job: Job, headers: dict[str, str] | None) -> None:
        """Publish outputs, a window of them at once."""
        if self.parts.forgotten.stones:
            outputs = self._allowed(outputs, item)
        if self.node.settle:
            outputs = [await self._settled(output, item, job, self.node.settle) for output in outputs]
        if len(outputs) == 1:
            await self._announce(*outputs[0], item.cause, job.recipe, headers)
            return
        for start in range(0, len(outputs), WINDOW):
            some = outputs[start : start + WINDOW]
            await asyncio.gather(*(self._announce(*output, item.cause, job.recipe, headers) for output in some))

    def _is_forgotten(self, message: Message | None) -> bool:
        return bool(self.parts.forgotten.stones) and message is not None and self.parts.forgotten.blocks(message)

    def _allowed(self, outputs: Sequence[Output], item: Input) -> list[Output]:
        """A no in place of all that must not be known any more."""
        if self._is_forgotten(item.message):
            return [self._no(Reject(FORGOTTEN), item)]
        return [self._refused(message) if self._is_forgotten(message) else (port, message) for port, message in outputs]

    def _refused(self, message: Message) -> Output:
        no = Rejected(id=message.id, reason=FORGOTTEN, source=getattr(message, "source", ""))
        return subjects.REJECTED, no

    async def _unmade(self, item: Input, outputs: list[Output], job: Job) -> bool:
        """Remove what was made of something that was forgotten meanwhile; False where none was.

        What else came of a seed is still remembered.
        """
        allowed = [output for output in outputs if not self._is_forgotten(output[1])]
        if len(allowed) == len(outputs) and not self._is_forgotten(item.message):
            return False
        if self.node.streams and not self._is_forgotten(item.message):
            outputs[:] = allowed
            return False
        for key in list(job.objects.written):
            await job.objects.delete(key)
        return True

    async def _settled(self, output: Output, item: Input, job: Job, settle: Settle) -> Output:
        """The output, or a no in its place where this flow already has what it says."""
        if output[0] == subjects.REJECTED:
            return output
        try:
            await settle(output[1], job)
        except Reject as no:
            return self._no(no, item)
        return output

    async def _announce(
        self, port: str, message: Message, cause: str, recipe: str, headers: dict[str, str] | None
    ) -> None:
        """Publish one output once, under its identity; the refusal of a known one is success."""
        message.recipe = "" if port in self.node.stable else recipe
        entity = ids.entity(message.id, message.recipe)
        subject = subjects.output(self.flow, self.node.type, self.name, port, entity)
        if not await self.publisher.publish(subject, seal(message, cause), headers):
            self.tally.known += 1
        elif port == subjects.REJECTED:
            self.tally.rejected += 1
        else:
            self.tally.out += 1

    async def _later(self, delivery: Delivery, item: Input | None, error: Exception, after: float | None) -> None:
        """Another attempt, or a dead letter when they are used up."""
        self.tally.last_error = f"{type(error).__name__}: {error}"
        if isinstance(error, Postpone):
            await delivery.nak(NEXT_RECORD if after is None else after)
            return
        tried = await self.attempts.note(delivery, error)
        if len(tried) >= ATTEMPTS or delivery.attempt >= self._deliveries:
            reason = error.reason if isinstance(error, Retry) else type(error).__name__
            detail = error.detail if isinstance(error, Retry) else str(error)
            bug = None if isinstance(error, Retry) else error
            await self.letters.bury(delivery, item, reason, detail, bug, tried)
            await self.attempts.forget(delivery)
            self.tally.dead += 1
            return
        self.tally.retried += 1
        backoff = 2 ** (len(tried) - 1) * random.uniform(0.8, 1.2)
        await delivery.nak(min(backoff if after is None else after, LONGEST_WAIT))

    def _recipe(self, input_recipe: str) -> tuple[str, frozenset[str]]:
        """Of what is made from an input, and those of all that the node gives."""
        if input_recipe not in self._recipes:
            recipe = self.node.recipe(self.settings, input_recipe)
            self._recipes[input_recipe] = recipe, self._kin or frozenset((recipe,))
        return self._recipes[input_recipe]


def _union(kinds: tuple[type[Message], ...]) -> Any:
    """The union of some message types, for a decoder."""
    union: Any = kinds[0]
    for kind in kinds[1:]:
        union |= kind
    return union
