"""On a real server: each user can do its work, and none can do another's."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import nats.micro
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from lodestream.rights import accounts, users
from lodestream.streams import ensure_stream, ensure_streams
from proto import subjects
from tests.support.node_types import TYPES
from tests.support.servers import start_nats

API = "$JS.API."
FLOW = {
    "name": "FLOW_x",
    "subjects": ["flow.x.>"],
    "max_msgs_per_subject": 1,
    "discard": "new",
    "discard_new_per_subject": True,
    "allow_direct": True,
}


class Stage:
    """A server with these rights, and one connection for each user that a test asks for."""

    def __init__(self, url: str, passwords: dict[str, str]) -> None:
        self.url, self.passwords = url, passwords
        self.connections: dict[str, Client] = {}
        self.refusals: dict[str, list[str]] = {}

    async def user(self, name: str) -> Client:
        """The connection of one user."""
        if name not in self.connections:
            told = self.refusals[name] = []

            async def on_error(error: Exception) -> None:
                told.append(str(error))

            self.connections[name] = await nats.connect(
                self.url, user=name, password=self.passwords[name], inbox_prefix=f"_INBOX_{name}", error_cb=on_error
            )
        return self.connections[name]

    async def ask(self, name: str, subject: str, payload: bytes = b"", **options: object) -> bytes:
        """One request by a user; the answer."""
        return (await (await self.user(name)).request(subject, payload, timeout=2, **options)).data  # type: ignore[arg-type]

    async def may(self, name: str, verb: str, subject: str, payload: bytes = b"") -> bool:
        """Whether the server lets this user `pub` or `sub`."""
        nc = await self.user(name)
        self.refusals[name].clear()
        await (nc.subscribe(subject) if verb == "sub" else nc.publish(subject, payload))
        await settle(nc)
        return not self.refusals[name]


async def settle(nc: Client) -> None:
    """The server's refusal comes before its PONG, but the client may send a PING before what is pending: two do."""
    await nc.flush()
    await nc.flush()


async def pull(nc: Client, stream: str, durable: str) -> Msg:
    """One message from a consumer."""
    inbox = nc.new_inbox()
    arrived = await nc.subscribe(inbox)
    await nc.publish(subjects.next_message(stream, durable), b'{"batch": 1}', reply=inbox)
    return await arrived.next_msg(2)


@pytest.fixture(params=["", "feature_flags {js_ack_fc_v2: true}\n"], ids=["acks", "acks-v2"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """A server with a flow, its consumers and one message for each."""
    passwords = {name: f"the-password-of-{name}" for name in users(TYPES)}
    with start_nats(tmp_path, request.param + accounts(TYPES, passwords)) as server:
        stage = Stage(server.url, passwords)
        operator = await stage.user("operator")
        await ensure_streams(operator)
        await ensure_stream(operator, FLOW)
        js = operator.jetstream()
        for stream, name, filters in (
            ("FLOW_x", "filter-1", "flow.x.extract.frames.>"),
            ("FLOW_x", "fetch-1", "flow.x.discover.find.>"),
            ("SEEDS", "x", "seeds.x"),
        ):
            await js.add_consumer(stream, name=name, durable_name=name, filter_subject=filters, ack_policy="explicit")
        for subject in ("flow.x.extract.frames.out.a", "flow.x.discover.find.out.a"):
            await js.publish(subject, b"{}")
        yield stage
        for nc in stage.connections.values():
            await nc.close()


async def test_a_worker_can_do_its_work(stage: Stage) -> None:
    """Read and watch the flows, pull, hold, publish once, bury, ack, answer the services protocol."""
    nc = await stage.user("filter")
    watch = await nc.subscribe(subjects.flow_key("*"))
    await settle(nc)
    await stage.ask("operator", subjects.flow_key("x"), b"flow: x")
    assert (await watch.next_msg(2)).data == b"flow: x"
    assert await stage.ask("filter", f"{API}DIRECT.GET.KV_flows.{subjects.flow_key('x')}") == b"flow: x"
    got = await stage.ask("filter", f"{API}DIRECT.GET.KV_flows", b'{"multi_last": ["$KV.flows.*"]}')
    assert got == b"flow: x"
    msg = await pull(nc, "FLOW_x", "filter-1")
    await nc.publish(msg.reply, b"+WPI")
    stored, again = [json.loads(await stage.ask("filter", "flow.x.filter.good.kept.a", b"{}")) for _ in range(2)]
    assert (stored["stream"], again["error"]["err_code"]) == ("FLOW_x", 10077)
    assert json.loads(await stage.ask("filter", "dead.x.filter.good.a", b"{}"))["stream"] == "DEAD"
    assert await stage.may("filter", "pub", "progress.x.filter.good", b"{}")
    await stage.ask("filter", msg.reply)
    info = await (await stage.user("operator")).jetstream().consumer_info("FLOW_x", "filter-1")
    assert info.num_ack_pending == 0
    await nats.micro.add_service(nc, name="filter", version="1.0.0")
    await settle(nc)
    assert json.loads(await stage.ask("operator", "$SRV.PING.filter"))["name"] == "filter"
    assert stage.refusals["filter"] == []


async def test_fetch_takes_and_gives_back_a_lease(stage: Stage) -> None:
    create = {"Nats-Expected-Last-Subject-Sequence": "0"}
    takes = [
        json.loads(await stage.ask("fetch", subjects.lease("media", "a"), b"me", headers=create)) for _ in range(2)
    ]
    assert takes[1]["error"]["err_code"] == 10071
    gone = await stage.ask("fetch", f"{API}STREAM.MSG.DELETE.KV_leases", json.dumps({"seq": takes[0]["seq"]}).encode())
    assert json.loads(gone)["success"]
    assert "seq" in json.loads(await stage.ask("fetch", subjects.lease("media", "a"), b"me", headers=create))


async def test_people_publish_seeds_and_look_on(stage: Stage) -> None:
    viewer = await stage.user("viewer")
    seen = await viewer.subscribe("flow.>")
    await settle(viewer)
    assert json.loads(await stage.ask("seeder", "seeds.x", b"https://example.org/v"))["stream"] == "SEEDS"
    assert (await pull(await stage.user("intake"), "SEEDS", "x")).data == b"https://example.org/v"
    assert (await pull(await stage.user("intake"), "SEEDS", subjects.UNCLAIMED)).subject == "seeds.x"
    await stage.ask("filter", "flow.x.filter.good.kept.b", b"{}")
    assert (await seen.next_msg(2)).subject == "flow.x.filter.good.kept.b"


async def test_the_catalog_reads_every_stream_under_its_own_name(stage: Stage) -> None:
    nc = await stage.user("catalog")
    for stream in ("FLOW_x", "SEEDS", "DEAD", "ADVISORIES"):
        config = {"stream_name": stream, "config": {"name": "catalog", "durable_name": "catalog", "ack_policy": "none"}}
        made = json.loads(
            await stage.ask("catalog", f"{API}CONSUMER.CREATE.{stream}.catalog", json.dumps(config).encode())
        )
        assert made["name"] == "catalog"
    assert (await pull(nc, "FLOW_x", "catalog")).subject == "flow.x.extract.frames.out.a"
    got = json.loads(await stage.ask("catalog", f"{API}STREAM.MSG.GET.FLOW_x", b'{"seq": 1}'))
    assert got["message"]["subject"] == "flow.x.extract.frames.out.a"
    assert json.loads(await stage.ask("catalog", f"{API}CONSUMER.DELETE.FLOW_x.catalog"))["success"]
    await stage.ask("catalog", "dead.x.extract.frames.a", b"{}")

    async def answer(msg: Msg) -> None:
        for part in (b"1", b"2"):
            await nc.publish(msg.reply, part)

    await nc.subscribe("catalog.sql", cb=answer)
    await settle(nc)
    assert await stage.ask("operator", "catalog.sql", b"select 1") == b"1"
    await settle(nc)
    assert stage.refusals["catalog"] == []


async def test_the_scaler_sees_what_waits_and_tells_what_it_decides(stage: Stage) -> None:
    assert "FLOW_x" in json.loads(await stage.ask("scaler", API + "STREAM.NAMES"))["streams"]
    listed = json.loads(await stage.ask("scaler", API + "CONSUMER.LIST.FLOW_x"))["consumers"]
    assert {info["name"]: info["num_pending"] for info in listed} == {"filter-1": 1, "fetch-1": 1}
    told = json.loads(await stage.ask("scaler", subjects.scaling("fetch"), b"{}"))
    assert told["stream"] == subjects.SCALING
    assert stage.refusals["scaler"] == []


STRANGE_TO_FILTER = {
    "read another's queue": API + "CONSUMER.MSG.NEXT.FLOW_x.fetch-1",
    "read seeds from their queue": API + "CONSUMER.MSG.NEXT.SEEDS.x",
    "read seeds directly": API + "DIRECT.GET.SEEDS",
    "read seeds": API + "STREAM.MSG.GET.SEEDS",
    "read outputs directly": API + "DIRECT.GET.FLOW_x",
    "ack another's message": "$JS.ACK.FLOW_x.fetch-1.1.1.1.1.0",
    "ack another's message, v2": "$JS.ACK._.abc.FLOW_x.fetch-1.1.1.1.1.0",
    "steal by asking for more": "$JS.ACK.FLOW_x.fetch-1.1.filter-1.1.1.0",
    "publish another type's output": "flow.x.fetch.get.media.b",
    "publish another type's dead letter": "dead.x.fetch.get.b",
    "publish a seed": "seeds.x",
    "publish another's progress": "progress.x.fetch.get",
    "delete a stream": API + "STREAM.DELETE.FLOW_x",
    "purge a stream": API + "STREAM.PURGE.FLOW_x",
    "edit a stream": API + "STREAM.UPDATE.FLOW_x",
    "delete a message": API + "STREAM.MSG.DELETE.FLOW_x",
    "edit its consumer": API + "CONSUMER.CREATE.FLOW_x.filter-1.flow.>",
    "delete its consumer": API + "CONSUMER.DELETE.FLOW_x.filter-1",
    "pause its consumer": API + "CONSUMER.PAUSE.FLOW_x.filter-1",
    "write a flow": "$KV.flows.x",
    "write a lease": "$KV.leases.media.a",
    "list streams": API + "STREAM.NAMES",
    "ask about a stream": API + "STREAM.INFO.FLOW_x",
    "call services": "$SRV.PING",
    "ask the catalog": "catalog.sql",
    "answer in another's inbox": "_INBOX_operator.x",
    "fake an advisory": "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.x.y",
}
UNHEARD = (">", "flow.>", "seeds.>", "_INBOX.>", "_INBOX_fetch.>", "$JS.>", "dead.>", "$KV.leases.>", "catalog.>")
REFUSED = [
    *(("filter", "pub", subject) for subject in STRANGE_TO_FILTER.values()),
    *(("filter", "sub", subject) for subject in UNHEARD),
    ("fetch", "pub", "$KV.flows.x"),
    ("fetch", "pub", API + "STREAM.MSG.DELETE.FLOW_x"),
    ("catalog", "pub", "flow.x.catalog.c.out.b"),
    ("catalog", "pub", API + "CONSUMER.CREATE.FLOW_x.filter-1"),
    ("catalog", "pub", API + "STREAM.DELETE.FLOW_x"),
    ("scaler", "pub", API + "CONSUMER.MSG.NEXT.FLOW_x.filter-1"),
    ("scaler", "pub", API + "CONSUMER.DELETE.FLOW_x.filter-1"),
    ("scaler", "pub", API + "CONSUMER.PAUSE.FLOW_x.filter-1"),
    ("scaler", "pub", API + "CONSUMER.CREATE.FLOW_x.scaler"),
    ("scaler", "pub", API + "STREAM.INFO.FLOW_x"),
    ("scaler", "pub", API + "STREAM.MSG.GET.SCALING"),
    ("scaler", "pub", API + "DIRECT.GET.SCALING"),
    ("scaler", "pub", "flow.x.extract.frames.out.b"),
    ("scaler", "pub", "$KV.flows.x"),
    ("scaler", "pub", "seeds.x"),
    ("scaler", "sub", "scaling.*"),
    ("scaler", "sub", "flow.>"),
    ("filter", "pub", subjects.scaling("filter")),
    ("seeder", "pub", "flow.x.fetch.get.media.b"),
    ("seeder", "sub", "flow.>"),
    ("seeder", "pub", API + "STREAM.NAMES"),
    ("viewer", "pub", "seeds.x"),
    ("viewer", "sub", "seeds.>"),
]


async def test_nobody_can_do_anothers_work(stage: Stage) -> None:
    allowed = [row for row in REFUSED if await stage.may(*row)]
    assert allowed == []


async def test_an_answer_to_people_cannot_land_on_an_output(stage: Stage) -> None:
    """Reply subjects are not checked: only the account of their own keeps the answer from being stored."""
    seeder, operator = await stage.user("seeder"), await stage.user("operator")
    await seeder.publish("seeds.x", b"{}", reply="flow.x.fetch.get.media.forged")
    await settle(seeder)
    await asyncio.sleep(0.2)
    info = await operator.jetstream().stream_info("FLOW_x", subjects_filter="flow.x.fetch.>")
    assert not info.state.subjects


async def test_a_wrong_password_is_refused(stage: Stage) -> None:
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await nats.connect(stage.url, user="operator", password="wrong", allow_reconnect=False)
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        await nats.connect(stage.url, allow_reconnect=False)
