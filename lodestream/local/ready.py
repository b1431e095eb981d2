"""When a server and the services answer."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from itertools import count

from nats.aio.client import Client
from nats.aio.msg import Msg

from lodestream.local.ports import HOST

PAUSE = 0.1
"""Seconds between questions; asked only while something starts."""


async def introduces_itself(port: int, server_name: str) -> bool:
    """Whether the NATS server on this port is the one of that name."""
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                verb, _, info = (await reader.readline()).partition(b" ")
                return verb == b"INFO" and json.loads(info).get("server_name") == server_name
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError):
        return False


async def services_answer(nc: Client, wanted: Counter[str], check: Callable[[], None]) -> None:
    """Wait until as many services as wanted answer under each name; `check` raises what makes waiting pointless."""
    seen: dict[str, str] = {}

    async def hear(msg: Msg) -> None:
        told = json.loads(msg.data)
        seen[told["id"]] = told["name"]

    inbox = nc.new_inbox()
    answers = await nc.subscribe(f"{inbox}.*", cb=hear)
    try:
        for question in count():
            if not wanted - Counter(seen.values()):
                break
            check()
            await nc.publish("$SRV.PING", reply=f"{inbox}.{question}")  # a service may answer each address once
            await asyncio.sleep(PAUSE)
    finally:
        await answers.unsubscribe()
