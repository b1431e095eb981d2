"""The peer of the engine's hop: a continuous pull on public nats-py calls and nothing else.

No decoding into types, no digest, no lineage, no dead letters: what is left is what JetStream itself costs.
"""

import asyncio
import json

from nats.aio.client import Client

STORED = b'{"stream"'


class BarePull:
    """Pull, publish the payload under another subject, wait for the server's answer, ack; `window` at once."""

    def __init__(self, nc: Client, stream: str, durable: str, window: int = 256):
        self.nc, self.window, self.live, self.asked, self.sent, self.done = nc, window, 0, 0, 0, 0
        self.subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self.answers: dict[str, asyncio.Future[bytes]] = {}

    async def start(self) -> None:
        """Subscribe and pull."""
        self.inbox, self.acks = self.nc.new_inbox(), self.nc.new_inbox() + "."
        await self.nc.subscribe(self.acks + "*", cb=self._answer, pending_msgs_limit=0, pending_bytes_limit=0)
        await self.nc.subscribe(self.inbox, cb=self._arrive, pending_msgs_limit=0, pending_bytes_limit=0)
        await self._pull()

    async def _pull(self) -> None:
        room = self.window - self.live - self.asked
        if room * 2 >= self.window:
            self.asked += room
            ask = {"batch": room, "expires": 30_000_000_000, "idle_heartbeat": 2_000_000_000}
            await self.nc.publish(self.subject, json.dumps(ask).encode(), reply=self.inbox)

    async def _arrive(self, msg) -> None:
        if not msg.reply:
            return
        self.asked, self.live = self.asked - 1, self.live + 1
        task = asyncio.create_task(self._one(msg))
        task.add_done_callback(lambda t: t.result())

    async def _answer(self, msg) -> None:
        self.answers.pop(msg.subject[len(self.acks) :]).set_result(msg.data)

    async def _one(self, msg) -> None:
        json.loads(msg.data)
        self.sent += 1
        ticket = str(self.sent)
        self.answers[ticket] = future = asyncio.get_running_loop().create_future()
        output = msg.subject.replace(".source.", ".noop.")
        await self.nc.publish(output, msg.data, reply=self.acks + ticket)
        answer = await asyncio.wait_for(future, 5)
        assert answer.startswith(STORED), answer
        await self.nc.publish(msg.reply)
        self.live, self.done = self.live - 1, self.done + 1
        await self._pull()
