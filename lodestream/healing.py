"""Objects that are gone, or are something else than was stored, are made again by the nodes that made them.

A node that misses one leaves a dead letter that says which. What the object was made from is then offered to its maker
once more; when the object is there, the letter is retried. A maker that misses an object itself leaves a letter, too.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import nats.errors
import nats.js.errors
from nats.js.api import ConsumerConfig, DeliverPolicy

from lodestream import deadletters
from lodestream.blobs import look
from lodestream.bus import Bus
from lodestream.bus.reader import held
from lodestream.deadletters import Dead
from lodestream.errors import CHANGED, MISSING, LodeError
from lodestream.flow.model import Deployed
from lodestream.flows import deployed_flows
from lodestream.makers import Said, offer_to_maker, passed, said, what_came
from lodestream.objects import Objects
from lodestream.passing import PASSING, again_and_again
from lodestream.streams import ask
from proto import keys, subjects
from proto.messages import Again, DeadLetter, Resolved, encode

EVERY = 1.0
"""Seconds between looks for new letters."""
LONGEST = 60.0
"""Seconds between looks at one letter, at most: they double."""
AT_ONCE = 16

_letter = msgspec.json.Decoder(DeadLetter | Resolved).decode


@dataclass
class Patient:
    """One letter, and how far its healing is."""

    dead: Dead
    again: Again
    needs: Said
    offered: int = 0
    """Sequence that the maker has to have passed before it has said all; 0 before anything was offered."""
    seen: int = 0
    """Sequence of the last letter of the maker that was resolved."""
    pause: float = EVERY
    due: float = 0.0
    told: str = ""

    @property
    def maker(self) -> subjects.Address:
        """The node that made the object."""
        return subjects.parse(self.again.subject)

    def later(self) -> None:
        """Look again after a pause, longer each time."""
        self.due = asyncio.get_running_loop().time() + self.pause
        self.pause = min(2 * self.pause, LONGEST)


class Healer:
    """Sees to the letters that name an object."""

    def __init__(self, bus: Bus, objects: Objects, say: Callable[[str], None], healed: Callable[[Said], None]):
        """`say` is told what is done, a line for each thing; `healed` of what is there once more."""
        self._bus, self._js, self._objects, self._say = bus, bus.nc.jetstream(), objects, say
        self._healed = healed
        self._patients: dict[str, Patient] = {}
        self._next = 1
        self._flows: dict[str, Deployed] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await again_and_again("healing", self._turn, EVERY, self._say)

    async def _turn(self) -> None:
        await self._read()
        await self._round()

    async def _read(self) -> None:
        """Take in the letters, and the marks of those resolved, that came since the last look."""
        state = (await ask(self._bus.nc, f"STREAM.INFO.{subjects.DEAD}", {}) or {})["state"]
        if state["last_seq"] < self._next - 1:  # another stream by that name
            self._next, self._patients = 1, {}
        if state["last_seq"] < self._next:
            return
        since = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self._next)
        async for msg in held(self._js, subjects.DEAD, subjects.dead("*", "*", "*", "*"), since):
            self._patients.pop(msg.subject, None)
            seq = msg.metadata.sequence.stream
            self._next = seq + 1
            if patient := await self._admit(msg.subject, seq, msg.data):
                self._patients[msg.subject] = patient

    async def _admit(self, subject: str, seq: int, data: bytes) -> Patient | None:
        """A patient, where a letter says that an object of its own input is missing."""
        try:
            letter = _letter(data)
            if not isinstance(letter, DeadLetter) or letter.reason != MISSING:
                return None
            dead = Dead(subject, seq, letter)
            again = deadletters.again_of(dead, await deadletters.input_of(self._js, dead))
            needs = said(again.input)
            subjects.parse(again.subject)
        except (msgspec.MsgspecError, LodeError, ValueError):
            return None
        return Patient(dead, again, needs) if needs.object_key == letter.detail else None

    async def _round(self) -> None:
        now = asyncio.get_running_loop().time()
        due = [patient for patient in self._patients.values() if patient.due <= now]
        if not due:
            return
        self._flows = await deployed_flows(self._bus)
        for start in range(0, len(due), AT_ONCE):
            await asyncio.gather(*map(self._see, due[start : start + AT_ONCE]))

    async def _see(self, patient: Patient) -> None:
        patient.later()
        try:
            await self._treat(patient)
        except PASSING as error:
            if patient.told != str(error):
                patient.told = str(error)
                self._say(f"{patient.needs.object_key} is not made again yet: {error or type(error).__name__}")

    async def _treat(self, patient: Patient) -> None:
        """Retry the letter where the object is there; else have it made, and see what came of that."""
        key, letter = patient.needs.object_key, patient.dead.letter
        through = await self._maker_is_through(patient) if patient.offered else False
        verdict, _ = await look(self._objects, patient.needs.blob)
        if verdict == "whole":
            await deadletters.retry(self._js, patient.dead)
            self._patients.pop(patient.dead.subject, None)
            self._healed(patient.needs)
            self._say(f"{key} is there: {letter.entity} is given to node {letter.node} of {letter.flow} once more")
        elif not patient.offered:
            await self._have_it_made(patient, verdict)
        elif through and not await self._maker_failed(patient):
            await self._give_up(patient)

    async def _have_it_made(self, patient: Patient, verdict: str) -> None:
        maker, key = patient.maker, patient.needs.object_key
        record = self._flows.get(maker.flow)
        if record is None or maker.node not in record.nodes or record.nodes[maker.node].type != maker.type:
            raise LodeError(f"node {maker.node} ({maker.type}) of flow {maker.flow}, which made it, is not deployed")
        if verdict == "wrong":
            await self._objects.delete(key)
        await self._objects.delete(keys.gone(key))  # somebody needs the bytes after all
        patient.offered, new = await offer_to_maker(
            self._js, patient.again.subject, patient.needs.cause, key, patient.dead.seq
        )
        patient.pause = EVERY
        if new:
            self._say(f"{key} is {verdict}: node {maker.node} of {maker.flow} makes it again")

    async def _maker_is_through(self, patient: Patient) -> bool:
        maker = patient.maker
        if maker.flow not in self._flows or maker.node not in self._flows[maker.flow].nodes:
            return False
        durable = subjects.durable(maker.type, self._flows[maker.flow].nodes[maker.node].slot)
        info = await ask(self._bus.nc, f"CONSUMER.INFO.{subjects.stream(maker.flow)}.{durable}", {}, may_lack=True)
        return info is not None and passed(info, patient.offered)

    async def _maker_failed(self, patient: Patient) -> bool:
        """Whether what was offered to the maker is a dead letter of its own now, or has just left that state."""
        maker, entity = patient.maker, patient.needs.cause.rpartition(".")[2]
        try:
            last = await self._js.get_last_msg(subjects.DEAD, subjects.dead(maker.flow, maker.type, maker.node, entity))
        except nats.js.errors.NotFoundError:
            return False
        mark = _letter(last.data or b"")
        if isinstance(mark, Resolved) and mark.how == "retried" and (last.seq or 0) > patient.seen:
            patient.seen, patient.pause = last.seq or 0, EVERY
            info = await ask(self._bus.nc, f"STREAM.INFO.{subjects.stream(maker.flow)}", {}) or {}
            patient.offered = info["state"]["last_seq"]
            return True
        return isinstance(mark, DeadLetter)

    async def _give_up(self, patient: Patient) -> None:
        """The maker made something else, or nothing: what the message says of the object can no longer be had."""
        letter = patient.dead.letter
        why = await what_came(self._js, self._objects, patient.again.subject, patient.needs)
        changed = msgspec.structs.replace(letter, reason=CHANGED, detail=f"{patient.needs.object_key}: {why}")
        expected = {"Nats-Expected-Last-Subject-Sequence": str(patient.dead.seq)}
        await self._js.publish(patient.dead.subject, encode(changed), headers=expected, stream=subjects.DEAD)
        self._patients.pop(patient.dead.subject, None)
        self._say(f"{patient.needs.object_key} cannot be made again: {why}; see: lode dead show {letter.entity}")
