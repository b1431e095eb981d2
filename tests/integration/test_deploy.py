"""Deploys on a real server: what is made, what is left alone, and what heals."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from lodestream.errors import LodeError
from lodestream.flow import consumers, store
from lodestream.flow.deploy import Report, deploy, finish_backfills, mend, pause, preview, resume
from lodestream.flow.lint import lint
from lodestream.flow.model import Flow
from lodestream.flow.record import next_record
from lodestream.flow.removal import held, remove
from lodestream.flow.store import Conflict
from lodestream.node import Node
from lodestream.registry import node_types
from lodestream.streams import ensure_streams
from proto import subjects
from tests.support.flows import GOOD, types
from tests.support.servers import start_nats

STREAM = "FLOW_clips"
MORE = GOOD + "  more: {type: get, from: look}\n"
WIRED = MORE.replace("from: get,", "from: [get, more],")


@pytest.fixture
async def nc(tmp_path: Path) -> AsyncIterator[Client]:
    """A connection to a fresh server with the streams that every instance has."""
    with start_nats(tmp_path) as server:
        nc = await nats.connect(server.url)
        await ensure_streams(nc)
        yield nc
        await nc.close()


def read(text: str, known: Mapping[str, Node] | None = None) -> Flow:
    """A flow file that is right."""
    flow, problems = lint(text, known or types())
    assert flow, problems
    return flow


async def put(nc: Client, text: str, **options: Any) -> Report:
    """Deploy a file."""
    return await deploy(nc, read(text), **options)


async def ask(nc: Client, what: str, body: Any = None) -> Any:
    """One JetStream request."""
    return json.loads((await nc.request(f"$JS.API.{what}", json.dumps(body or {}).encode())).data)


async def durables(nc: Client, stream: str = STREAM) -> dict[str, dict[str, Any]]:
    """The consumers of a stream."""
    return {info["name"]: info for info in (await ask(nc, f"CONSUMER.LIST.{stream}")).get("consumers") or []}


async def give(nc: Client, node: str, count: int, *, start: int = 0, port: str = "media") -> None:
    """Publish what a `get` would."""
    for n in range(start, start + count):
        await nc.request(subjects.output("clips", "get", node, port, f"v{n}"), b"{}")


async def take(nc: Client, durable: str, count: int) -> list[str]:
    """Take messages from a consumer as a worker does; gives their subjects."""
    js = nc.jetstream()
    pull = await js.pull_subscribe_bind(durable, STREAM)
    got = []
    for msg in await pull.fetch(count, timeout=5) if count else []:
        got.append(msg.subject)
        await msg.ack_sync()
    await pull.unsubscribe()
    return got


async def waiting(nc: Client, durable: str, count: int) -> None:
    """Wait until so many messages wait for a consumer: it hears of them a moment after they are stored."""
    async with asyncio.timeout(5):
        while (await durables(nc))[durable]["num_pending"] != count:
            await asyncio.sleep(0.02)


async def test_the_first_deploy_makes_stream_and_consumers(nc: Client) -> None:
    report = await put(nc, GOOD)
    assert report.changed
    config = (await ask(nc, f"STREAM.INFO.{STREAM}"))["config"]
    assert config["subjects"] == ["flow.clips.>"]
    assert (config["max_msgs_per_subject"], config["discard"], config["allow_direct"]) == (1, "new", True)
    assert config["discard_new_per_subject"]
    assert sorted(await durables(nc)) == ["cut-1", "find-1", "get-1", "need-1"]
    cut = (await durables(nc))["cut-1"]["config"]
    assert cut["filter_subjects"] == ["flow.clips.get.get.media.*", "flow.clips.cut.frames.again.*"]
    assert (cut["ack_wait"], cut["max_deliver"], cut["metadata"]["lode.node"]) == (30 * 10**9, 6, "frames")
    seeds = (await durables(nc, subjects.SEEDS))["clips"]["config"]
    assert seeds["filter_subjects"] == ["seeds.clips"]
    assert (await store.load_deployed(nc, "clips")).text == GOOD
    assert [record.flow for record in await store.listing(nc)] == ["clips"]


async def test_the_same_file_twice_touches_nothing_and_says_so(nc: Client) -> None:
    first = await put(nc, GOOD)
    before = {name: info["created"] for name, info in (await durables(nc)).items()}
    again = await put(nc, GOOD)
    assert not again.changed
    assert again.lines() == ["nothing to do: deployed as it is"]
    assert again.revision == first.revision
    assert {name: info["created"] for name, info in (await durables(nc)).items()} == before


async def test_a_stream_that_somebody_tuned_keeps_what_may_differ(nc: Client) -> None:
    await put(nc, GOOD)
    config = (await ask(nc, f"STREAM.INFO.{STREAM}"))["config"]
    await ask(nc, f"STREAM.UPDATE.{STREAM}", config | {"max_bytes": 1 << 20, "discard_new_per_subject": False})
    await put(nc, GOOD)
    config = (await ask(nc, f"STREAM.INFO.{STREAM}"))["config"]
    assert (config["max_bytes"], config["discard_new_per_subject"]) == (1 << 20, True)


async def test_only_what_changed_is_touched(nc: Client) -> None:
    await put(nc, GOOD)
    before = await durables(nc)
    report = await put(nc, GOOD.replace('keep: "a hand"', 'keep: "a foot"').replace("limit: 20", "limit: 30"))
    after = await durables(nc)
    assert list(map(str, report.consumers)) == ["need-1: deleted", "need-2: made (good)"]
    assert sorted(after) == ["cut-1", "find-1", "get-1", "need-2"]
    assert all(after[name]["created"] == before[name]["created"] for name in ("cut-1", "find-1", "get-1"))
    assert (await store.load_deployed(nc, "clips")).nodes["look"].settings == {"limit": 30}


async def test_a_node_that_starts_again_is_given_everything_again(nc: Client) -> None:
    await put(nc, GOOD)
    await give(nc, "get", 3)
    await take(nc, "cut-1", 3)
    seen, _ = await preview(nc, read(GOOD.replace("2s", "3s")))
    assert next((c.node, c.wires) for c in seen.changes) == ("frames", {"get.media": 3})
    await put(nc, GOOD.replace("2s", "3s"))
    assert len(await take(nc, "cut-2", 3)) == 3


async def test_a_new_wire_is_filled_and_its_backfill_leaves(nc: Client) -> None:
    await put(nc, MORE)
    await give(nc, "more", 5)
    await give(nc, "get", 2)
    await take(nc, "cut-1", 2)
    report = await put(nc, WIRED)
    assert report.lines() == ["frames (cut): new wire more.media, 5 waiting"]
    assert sorted(map(str, report.consumers)) == ["cut-1: filters changed (frames)", "cut-2: made (frames)"]
    await give(nc, "more", 1, start=5)
    assert await finish_backfills(nc) == []
    assert len(await take(nc, "cut-1", 1)) == 1
    assert len(await take(nc, "cut-2", 6)) == 6
    assert await finish_backfills(nc) == ["cut-2"]
    assert "cut-2" not in await durables(nc)
    assert (await store.load_deployed(nc, "clips")).nodes["frames"].backfills == []
    assert not (await put(nc, WIRED)).changed


async def test_a_backfill_ends_though_its_wire_never_rests(nc: Client) -> None:
    await put(nc, MORE)
    await give(nc, "more", 4)
    await put(nc, WIRED)
    await give(nc, "more", 3, start=4)
    await take(nc, "cut-2", 5)
    await waiting(nc, "cut-2", 2)
    assert await finish_backfills(nc) == ["cut-2"]


async def test_an_empty_backfill_leaves_at_once(nc: Client) -> None:
    await put(nc, MORE)
    await put(nc, WIRED)
    assert sorted(await durables(nc)) == ["cut-1", "find-1", "get-1", "get-2", "need-1"]


async def test_new_only(nc: Client) -> None:
    await put(nc, MORE)
    await give(nc, "more", 4)
    text = WIRED + "  other: {type: cut, from: more}\n"
    report = await put(nc, text, new_only={"frames", "other"})
    assert [(c.node, c.new_only) for c in report.diff.changes if c.new_only] == [
        ("frames", ["more.media"]),
        ("other", ["more.media"]),
    ]
    assert (await durables(nc))["cut-2"]["num_pending"] == 0
    nodes = (await store.load_deployed(nc, "clips")).nodes
    assert nodes["frames"].starts == nodes["other"].starts == {"flow.clips.get.more.media.*": 5}
    await give(nc, "more", 2, start=4)
    await waiting(nc, "cut-2", 2)


async def test_new_only_of_one_wire_and_the_backlog_of_another(nc: Client) -> None:
    await put(nc, MORE + "  last: {type: get, from: look}\n")
    await give(nc, "more", 4)
    await give(nc, "last", 3)
    text = (MORE + "  last: {type: get, from: look}\n").replace("from: get,", "from: [get, more, last],")
    seen, _ = await preview(nc, read(text), new_only={"frames:more"})
    assert [(c.node, c.wires, c.new_only) for c in seen.changes] == [("frames", {"last.media": 3}, ["more.media"])]
    await put(nc, text, new_only={"frames:more.media"})
    assert (await durables(nc))["cut-2"]["num_pending"] == 3
    with pytest.raises(LodeError, match=r"look does not feed frames; it is fed by get\.media, more\.media, last"):
        await preview(nc, read(text), new_only={"frames:look"})


async def test_a_node_that_is_reset_is_given_everything_again(nc: Client) -> None:
    await put(nc, GOOD)
    await give(nc, "get", 3)
    await take(nc, "cut-1", 3)
    seen, version = await preview(nc, read(GOOD), reset=["frames"])
    assert seen.lines() == [
        "frames (cut): does its work again, because it is reset; known results are not made twice",
        "frames (cut): wire get.media, 3 waiting",
    ]
    report = await put(nc, GOOD, reset=["frames"], version=version)
    assert sorted(map(str, report.consumers)) == ["cut-1: deleted", "cut-2: made (frames)"]
    assert len(await take(nc, "cut-2", 3)) == 3
    assert not (await put(nc, GOOD)).changed
    with pytest.raises(LodeError, match="flow clips has no node 'framez'; its nodes: seeds, look"):
        await preview(nc, read(GOOD), reset=["framez"])


async def test_the_node_that_takes_seeds_is_reset_too(nc: Client) -> None:
    await put(nc, GOOD)
    await nc.request(subjects.seeds("clips"), b"a search")
    sub = await nc.jetstream().pull_subscribe_bind("clips", subjects.SEEDS)
    await (await sub.fetch(1, timeout=5))[0].ack_sync()
    assert (await durables(nc, subjects.SEEDS))["clips"]["num_pending"] == 0
    await put(nc, GOOD, reset=["seeds"])
    assert (await durables(nc, subjects.SEEDS))["clips"]["num_pending"] == 1


async def test_a_removed_node_leaves_no_consumer(nc: Client) -> None:
    await put(nc, MORE)
    await put(nc, GOOD)
    assert sorted(await durables(nc)) == ["cut-1", "find-1", "get-1", "need-1"]


async def test_of_two_deploys_at_once_one_is_refused(nc: Client) -> None:
    await put(nc, GOOD)
    _, version = await preview(nc, read(MORE))
    texts = [GOOD.replace("2s", f"{n}s") for n in range(3, 9)]
    done = await asyncio.gather(*(put(nc, text) for text in texts), return_exceptions=True)
    assert all(isinstance(one, Report | Conflict) for one in done), done
    assert any(isinstance(one, Report) for one in done)
    with pytest.raises(Conflict, match="was changed by somebody else meanwhile; look at it: lode flow diff"):
        await put(nc, MORE, version=version)
    record = await store.load_deployed(nc, "clips")
    assert sorted(await durables(nc)) == sorted(c.durable for c in record.consumers() if c.stream == STREAM)


async def test_a_backfill_that_ends_meanwhile_is_nobody_else(nc: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(nc, MORE)
    await give(nc, "more", 1)
    await put(nc, WIRED)
    await take(nc, "cut-2", 1)
    _, version = await preview(nc, read(MORE))
    real, ended = store.save, []

    async def late(*args: Any) -> int:
        monkeypatch.setattr(store, "save", real)
        ended.extend(await finish_backfills(nc))
        return await real(*args)

    monkeypatch.setattr(store, "save", late)
    assert [c.cut for c in (await put(nc, MORE, version=version)).diff.changes] == [["more.media"]]
    assert ended == ["cut-2"]


async def test_the_slower_deploy_does_not_undo_the_newer(nc: Client) -> None:
    await put(nc, GOOD)
    old = await store.load_deployed(nc, "clips")
    await put(nc, MORE)
    await consumers.reconcile(nc, old)
    assert (await put(nc, MORE)).lines() == [
        "deployed as it is, but for what was cut short or changed by hand and is now put right:",
        "  get-2: made (more)",
    ]


@pytest.mark.parametrize("step", range(1, 6))
async def test_a_deploy_that_is_cut_short_is_healed_by_the_next(
    nc: Client, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    await put(nc, MORE)
    await give(nc, "more", 3)
    target = WIRED.replace('"a hand"', '"a foot"') + "  bin: {type: bin, from: [get, more]}\n"
    done, real = 0, consumers.ask

    async def dying(*args: Any, **options: Any) -> Any:
        nonlocal done
        touches = any(verb in args[1] for verb in ("CONSUMER.CREATE.FLOW", "CONSUMER.DELETE.FLOW"))
        done += touches and "lode-count" not in args[1]
        if done == step:
            raise asyncio.CancelledError
        return await real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(consumers, "ask", dying)
        with pytest.raises(asyncio.CancelledError):
            await put(nc, target)
    report = await put(nc, target)
    assert report.diff.changes == []
    record = await store.load_deployed(nc, "clips")
    wanted = {c.durable: c for c in record.consumers() if c.stream == STREAM}
    found = await durables(nc)
    assert {name: tuple(info["config"]["filter_subjects"]) for name, info in found.items()} == {
        name: consumer.filters for name, consumer in wanted.items()
    }
    assert {name: info["config"]["metadata"]["lode.since"] for name, info in found.items()} == {
        name: consumer.since for name, consumer in wanted.items()
    }
    assert found["cut-2"]["num_pending"] == 3


async def test_a_consumer_of_the_same_name_with_another_past_is_replaced(nc: Client) -> None:
    await put(nc, GOOD)
    await give(nc, "get", 2)
    config = {"name": "cut-1", "durable_name": "cut-1", "ack_policy": "explicit", "deliver_policy": "new"}
    await consumers.delete(nc, STREAM, "cut-1")
    await ask(nc, f"CONSUMER.CREATE.{STREAM}.cut-1", {"stream_name": STREAM, "config": config})
    assert list(map(str, (await put(nc, GOOD)).consumers)) == ["cut-1: deleted", "cut-1: made (frames)"]
    assert (await durables(nc))["cut-1"]["num_pending"] == 2


async def test_consumers_of_others_are_left_alone(nc: Client) -> None:
    await put(nc, GOOD)
    config = {"name": "mine", "durable_name": "mine", "ack_policy": "explicit"}
    await ask(nc, f"CONSUMER.CREATE.{STREAM}.mine", {"stream_name": STREAM, "config": config})
    await put(nc, MORE)
    await remove(nc, "clips")
    assert list(await durables(nc)) == ["mine"]


async def test_remove_keeps_what_was_made_and_purge_does_not(nc: Client) -> None:
    await put(nc, GOOD)
    await give(nc, "get", 2)
    await nc.request(subjects.seeds("clips"), b"a search")
    await nc.request(subjects.dead("clips", "get", "get", "x"), b"{}")
    await nc.request(subjects.dead("other", "get", "get", "x"), b"{}")
    was = await held(nc, "clips")
    assert (was.messages, was.seeds, was.dead, sorted(was.consumers)) == (
        2, 1, 0, ["clips", "cut-1", "find-1", "get-1", "need-1"],
    )  # fmt: skip
    assert await remove(nc, "clips") == was
    assert await durables(nc) == {}
    assert await store.listing(nc) == []
    back = await put(nc, GOOD)
    assert (await durables(nc))["cut-2"]["num_pending"] == 2
    assert [done.rest for done in back.consumers] == [0] * 5
    await remove(nc, "clips", purge=True)
    assert "error" in await ask(nc, f"STREAM.INFO.{STREAM}")
    assert [(await ask(nc, f"STREAM.INFO.{s}"))["state"]["messages"] for s in ("SEEDS", "DEAD")] == [0, 1]
    with pytest.raises(LodeError, match="no flow 'clips' is deployed; none is"):
        await remove(nc, "clips")


async def test_an_unreadable_record_can_be_removed(nc: Client) -> None:
    await put(nc, GOOD)
    await nc.request(subjects.flow_key("clips"), b"{}")
    with pytest.raises(LodeError, match="remove it: lode flow rm clips"):
        await put(nc, GOOD)
    await remove(nc, "clips")
    assert (await put(nc, GOOD)).diff.first


async def test_pause_and_resume(nc: Client) -> None:
    await put(nc, GOOD)
    assert await pause(nc, "clips", ["get"]) == ["get"]
    assert await pause(nc, "clips", ["get"]) == []
    assert (await store.load_deployed(nc, "clips")).nodes["get"].paused
    assert not (await put(nc, GOOD)).changed
    assert await pause(nc, "clips") == ["seeds", "look", "frames", "good"]
    assert len(await resume(nc, "clips")) == 5
    with pytest.raises(LodeError, match="flow clips has no node 'gett'; its nodes: seeds, look"):
        await pause(nc, "clips", ["gett"])
    with pytest.raises(LodeError, match="no flow 'nope' is deployed; deployed: clips"):
        await resume(nc, "nope")


async def test_what_is_paused_stays_so_over_changes(nc: Client) -> None:
    async def paused() -> list[str]:
        now = {name: info for name, info in (await durables(nc)).items() if info.get("paused")}
        assert {info["config"]["pause_until"] for info in now.values()} <= {consumers.HELD}
        return sorted(now)

    await put(nc, MORE)
    await give(nc, "more", 2)
    await pause(nc, "clips", ["frames"])
    await pause(nc, "clips", ["seeds"])
    assert (await durables(nc, subjects.SEEDS))["clips"]["paused"]
    assert await paused() == ["cut-1"]
    await put(nc, WIRED)
    assert await paused() == ["cut-1", "cut-2"]
    await put(nc, WIRED.replace("2s", "3s"))
    assert await paused() == ["cut-3"]
    assert not (await put(nc, WIRED.replace("2s", "3s"))).changed
    await resume(nc, "clips", ["frames"])
    assert await paused() == []
    await nc.request(f"$JS.API.CONSUMER.PAUSE.{STREAM}.cut-3", json.dumps({"pause_until": consumers.HELD}).encode())
    assert list(map(str, (await put(nc, WIRED.replace("2s", "3s"))).consumers)) == ["cut-3: resumed (frames)"]


async def test_a_node_that_is_resumed_early_still_rests(nc: Client) -> None:
    text = GOOD + "".join(f"  c{n}: {{type: cut, from: get, every: {n}s}}\n" for n in range(3, 18))
    await put(nc, text)
    await pause(nc, "clips", ["c3"])
    await deploy(nc, read(text, types(cut_version=2)))
    await resume(nc, "clips", ["c3"])
    record = await store.load_deployed(nc, "clips")
    until = (await durables(nc))[f"cut-{record.nodes['c3'].slot}"]["config"]["pause_until"]
    assert record.nodes["c3"].since < until < consumers.HELD


async def test_pauses_at_once_are_all_kept(nc: Client) -> None:
    await put(nc, GOOD)
    await asyncio.gather(*(pause(nc, "clips", [name]) for name in ("get", "look", "frames")))
    nodes = (await store.load_deployed(nc, "clips")).nodes
    assert [name for name, node in nodes.items() if node.paused] == ["look", "get", "frames"]


async def test_sixteen_of_a_type_start_again_in_place(nc: Client) -> None:
    text = GOOD + "".join(f"  c{n}: {{type: cut, from: get, every: {n}s}}\n" for n in range(3, 18))
    await put(nc, text)
    await give(nc, "get", 2)
    report = await deploy(nc, read(text, types(cut_version=2)))
    cuts = {name: info for name, info in (await durables(nc)).items() if name.startswith("cut-")}
    assert len(cuts) == 16
    assert {info["num_pending"] for info in cuts.values()} == {2}
    assert all(info["config"]["pause_until"] for info in cuts.values())
    assert re.search(r"c3, .*: work begins in (20|1\d) s, when no worker knows the consumer", report.lines()[-1])


async def test_a_server_without_buckets_is_told(tmp_path: Path) -> None:
    with start_nats(tmp_path) as server:
        nc = await nats.connect(server.url)
        with pytest.raises(LodeError, match="has no bucket of flows; start the instance with: lode up"):
            await put(nc, GOOD)
        await nc.close()


async def test_a_record_is_legible(nc: Client) -> None:
    await put(nc, GOOD)
    bucket = await nc.jetstream().key_value(subjects.FLOWS_BUCKET)
    record = json.loads((await bucket.get("clips")).value or b"")
    assert record["nodes"]["frames"]["settings"] == {"every": "2s"}
    assert next_record(await store.load_deployed(nc, "clips"), read(GOOD), "2100-01-01").at == record["at"]


async def test_mending_puts_right_and_names_what_waits_for_a_person(nc: Client) -> None:
    text = "flow: real\nnodes:\n  s: {type: intake}\n  find: {type: discover, from: s}\n"
    flow, problems = lint(text)
    assert flow, problems
    await deploy(nc, flow)
    await put(nc, GOOD)
    assert await mend(nc) == [
        f"flow clips: its file:3:18: unknown node type 'start' (allowed: {', '.join(sorted(node_types()))}); "
        "it waits to be deployed again (lode flow diff)"
    ]
    await remove(nc, "clips")
    await consumers.delete(nc, "FLOW_real", "discover-1")
    assert await mend(nc) == ["flow real: put right: discover-1: made (find)"]
    record, revision, _ = await store.load(nc, "real")
    assert record
    record.nodes["find"].recipes = ["00000000"]
    await store.save(nc, record, revision)
    assert await mend(nc) == [
        "flow real: node type discover was revised; it waits to be deployed again (lode flow diff)"
    ]
    assert (
        (await deploy(nc, flow))
        .lines()[0]
        .endswith("does its work again, because node type discover was revised; known results are not made twice")
    )
    assert await mend(nc) == []
