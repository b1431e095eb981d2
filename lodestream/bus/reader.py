"""Reads what a stream holds at this moment, and ends: for people who ask, not for workers."""

from collections.abc import AsyncGenerator
from contextlib import suppress

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from lodestream.bus.connection import heard

SLOWEST = 10.0
"""Seconds that the next message may take."""


async def held(
    js: JetStreamContext, stream: str, subject: str, config: ConsumerConfig | None = None
) -> AsyncGenerator[Msg, None]:
    """Every message that a stream holds on a subject, oldest first; nothing where there is no such stream.

    Raises nats.errors.TimeoutError where the server stops answering.
    """
    wanted = config or ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
    try:
        reading = await js.subscribe(subject, stream=stream, ordered_consumer=True, config=wanted)
    except NotFoundError:
        return
    state = await reading.consumer_info()
    left = (state.num_pending or 0) + (state.delivered.consumer_seq if state.delivered else 0)  # some are here already
    try:
        while left:
            msg = await heard(reading.next_msg(timeout=SLOWEST))
            left = msg.metadata.num_pending
            yield msg
    finally:
        with suppress(nats.errors.Error, nats.js.errors.Error):
            await js.delete_consumer(stream, (await reading.consumer_info()).name)
        await reading.unsubscribe()
