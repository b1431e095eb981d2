"""What a deploy would do, worked out from the record before and the new file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from lodestream import worker
from lodestream.errors import LodeError
from lodestream.flow import model
from lodestream.flow.diff import Diff, diff
from lodestream.flow.lint import lint
from lodestream.flow.model import Deployed, Flow
from lodestream.flow.record import REST, Facts, next_record, recipes_of, rests
from lodestream.node import Node
from proto import keys
from tests.support.flows import GOOD, types

LOOK = "flow.clips.find.look.candidate.*"
MEDIA = "flow.clips.get.get.media.*"


def read(text: str, known: Mapping[str, Node] | None = None) -> Flow:
    """A flow file that is right."""
    flow, problems = lint(text, known or types())
    assert flow, problems
    return flow


def at(minute: int, second: int = 0) -> str:
    """A time of deploying."""
    return f"2026-01-01T00:{minute:02}:{second:02}+00:00"


def deployed(text: str, old: Deployed | None = None, minute: int = 1, **options: Any) -> Deployed:
    """The record of a file."""
    return next_record(old, read(text), at(minute), **options)


def compared(
    old: Deployed | None, text: str, counts: Mapping[str, int] | None = None, known: Any = None, **options: Any
) -> Diff:
    """What deploying a file would do."""
    flow = read(text, known)
    return diff(old, next_record(old, flow, at(9), **options), flow, counts or {})


def kinds(old: Deployed | None, text: str, known: Mapping[str, Node] | None = None) -> dict[str, str]:
    """What happens to each node that something happens to."""
    return {change.node: change.kind for change in compared(old, text, known=known).changes}


def test_first_deploy() -> None:
    record = deployed(GOOD)
    assert kinds(None, GOOD) == dict.fromkeys(["seeds", "look", "get", "frames", "good"], "added")
    assert [(c.stream, c.durable) for c in record.consumers()] == [
        ("SEEDS", "clips"),
        *(("FLOW_clips", durable) for durable in ("find-1", "get-1", "cut-1", "need-1")),
    ]
    assert record.filters("seeds") == ("seeds.clips",)
    assert record.filters("get") == (LOOK, "flow.clips.get.get.again.*")
    assert model.decode(model.encode(record)) == record


def test_recipes_travel_along_the_wires() -> None:
    flow, record = read(GOOD), deployed(GOOD)
    get, frames = record.nodes["get"], record.nodes["frames"]
    assert get.wires == {LOOK: [""]}
    assert get.recipes == [flow.nodes["get"].declaration.recipe(flow.nodes["get"].settings, "")]
    assert frames.wires == {MEDIA: get.recipes}
    assert frames.accepts("flow.clips.get.get.media.x_1", get.recipes[0], 1)
    assert not frames.accepts("flow.clips.get.get.media.x_1", "00000000", 1)
    assert not frames.accepts("flow.clips.get.get.rejected.x_1", get.recipes[0], 1)


def test_the_same_again_is_the_same_record() -> None:
    record = deployed(GOOD)
    assert deployed(GOOD, record, 2) is record
    assert compared(record, GOOD).lines() == ["nothing to do: deployed as it is"]


def test_words_alone_touch_no_node() -> None:
    found = compared(deployed(GOOD), "# words\n" + GOOD)
    assert found.changes == []
    assert found.lines() == ["only words change; no node is touched"]


def test_a_setting_that_shapes_recomputes_the_node_and_what_follows() -> None:
    old, text = deployed(GOOD), GOOD.replace("720", "480")
    assert compared(old, text, {LOOK: 1200, MEDIA: 3}).lines() == [
        "get (get): does its work again, because max_height changed; known results are not made twice",
        "get (get): max_height 720 -> 480",
        "get (get): wire look.candidate, 1,200 waiting",
        "frames (cut): does its work again, because get.media changes, on what it is given anew",
        "good (need): does its work again, because frames.shard changes, on what it is given anew",
    ]
    assert [name for name, node in deployed(text, old, 2).nodes.items() if node.since == at(2)] == ["get"]


def test_a_recipe_that_comes_back_starts_what_follows_again() -> None:
    first = deployed(GOOD)
    second = deployed(GOOD.replace("720", "480"), first, 2)
    seen = recipes_of(first) | recipes_of(second)
    back = next_record(second, read(GOOD), at(3), facts=Facts(seen))
    assert [name for name, node in back.nodes.items() if node.since == at(3)] == ["get", "frames", "good"]
    assert [node.recipes for node in back.nodes.values()] == [node.recipes for node in first.nodes.values()]
    lines = compared(second, GOOD, {MEDIA: 3}, facts=Facts(seen)).lines()
    assert lines[3:5] == [
        "frames (cut): does its work again, because get.media changes; known results are not made twice",
        "frames (cut): wire get.media, 3 waiting",
    ]
    assert next_record(second, read(GOOD), at(3), facts=Facts(None)) == back


def test_what_follows_a_new_wire_goes_on_unless_its_recipes_come_back() -> None:
    two = GOOD + "  more: {type: get, from: look}\n"
    wired = two.replace("from: get,", "from: [get, more],")
    cut, wide = deployed(two), deployed(wired)
    assert kinds(cut, wired) == {"frames": "edited"}
    assert deployed(wired, cut, 2).nodes["good"].since == at(1)
    again = compared(cut, wired, facts=Facts(recipes_of(wide)))
    assert [(c.node, c.why) for c in again.changes] == [
        ("frames", ""),
        ("good", "older messages of frames.shard count again"),
    ]


def test_a_setting_that_does_not_shape_recomputes_nothing() -> None:
    old = deployed(GOOD)
    text = GOOD.replace("limit: 20", "limit: 30").replace("max_height: 720", "max_height: 720, concurrency: 3")
    assert compared(old, text).lines() == [
        "look (find): limit 20 -> 30 (recomputes nothing)",
        "get (get): concurrency default -> 3 (recomputes nothing)",
    ]
    new = deployed(text, old, 2)
    assert [node.since for node in new.nodes.values()] == [at(1)] * 5
    assert new.nodes["get"].settings == {"max_height": 720, "concurrency": 3}


def test_another_spelling_of_a_value_recomputes_nothing() -> None:
    assert kinds(deployed(GOOD), GOOD.replace("every: 2s", "every: 2000ms")) == {"frames": "edited"}


def test_a_revised_node_type_recomputes() -> None:
    found = compared(deployed(GOOD), GOOD, known=types(cut_version=2))
    assert [(c.node, c.why) for c in found.changes] == [
        ("frames", "node type cut was revised"),
        ("good", "frames.shard changes"),
    ]


def test_a_node_that_starts_again_takes_another_durable() -> None:
    old = deployed(GOOD)
    new = deployed(GOOD.replace("2s", "3s"), old, 2)
    assert (new.nodes["frames"].slot, new.nodes["frames"].since) == (2, at(2))
    assert (new.nodes["get"].slot, new.nodes["get"].since) == (1, at(1))
    assert new.freed == {"cut-1": at(2)}


def test_a_durable_rests_before_it_is_used_again() -> None:
    old = deployed(GOOD)
    renamed = deployed(GOOD.replace("frames", "stills"), old, 2)
    assert (renamed.nodes["stills"].slot, renamed.freed["cut-1"]) == (2, at(2))
    soon = next_record(renamed, read(GOOD), at(2, 19))
    assert soon.nodes["frames"].slot == 3
    assert soon.freed == {"cut-1": at(2), "cut-2": at(2, 19), "need-2": at(2, 19)}
    assert next_record(renamed, read(GOOD), at(2, 21)).nodes["frames"].slot == 1
    assert rests(at(2), at(2, 19)).seconds == 1


def test_a_flow_that_was_removed_a_moment_ago_comes_back_under_other_durables() -> None:
    removed = deployed(GOOD)
    removed.at = at(2)
    again = next_record(None, read(GOOD), at(2, 10), facts=Facts(removed=removed))
    assert [node.slot for node in again.nodes.values()] == [0, 2, 2, 2, 2]
    assert again.freed == dict.fromkeys(["find-1", "get-1", "cut-1", "need-1"], at(2))
    later = next_record(None, read(GOOD), at(3), facts=Facts(removed=removed))
    assert later.freed == {}


def test_another_node_that_takes_the_seeds_waits_until_workers_know() -> None:
    renamed = GOOD.replace("seeds:", "start:").replace("from: seeds", "from: start")
    assert deployed(renamed, deployed(GOOD), 2).freed == {"clips": at(2)}


def test_a_new_wire_is_filled_by_a_backfill() -> None:
    two = GOOD + "  more: {type: get, from: look}\n"
    old = deployed(two)
    wired = two.replace("from: get,", "from: [get, more],")
    wire = "flow.clips.get.more.media.*"
    new = deployed(wired, old, 2)
    frames = new.nodes["frames"]
    assert (frames.slot, frames.since) == (1, at(1))
    assert [(b.slot, b.since, b.filters) for b in frames.backfills] == [(2, at(2), [wire])]
    assert [c.durable for c in new.consumers() if c.node == "frames"] == ["cut-1", "cut-2"]
    found = compared(old, wired, {wire: 7, MEDIA: 5})
    assert found.changes[0].wires == {"more.media": 7}
    assert found.lines()[0] == "frames (cut): new wire more.media, 7 waiting"


def test_a_new_wire_with_new_messages_only() -> None:
    two = GOOD + "  more: {type: get, from: look}\n"
    old, wired = deployed(two), two.replace("from: get,", "from: [get, more],")
    new = deployed(wired, old, 2, new_only=["frames"])
    assert new.nodes["frames"].backfills == []
    assert compared(old, wired, new_only=["frames"]).changes[0].new_only == ["more.media"]


def test_a_new_node_with_new_messages_only() -> None:
    text = GOOD + "  more: {type: cut, from: get}\n"
    new = deployed(text, deployed(GOOD), 2, new_only=["more"], facts=Facts((), 3, 40))
    assert new.nodes["more"].start == 41
    assert not new.nodes["more"].accepts(MEDIA, new.nodes["get"].recipes[0], 40)
    assert new.nodes["more"].accepts(MEDIA, new.nodes["get"].recipes[0], 41)
    again = deployed(text.replace("from: get}", "from: get, every: 9s}"), new, 3)
    assert (again.nodes["more"].since, again.nodes["more"].start) == (at(3), 41)
    with pytest.raises(LodeError, match="no node nobody"):
        deployed(GOOD, new_only=["nobody"])


def test_a_cut_wire_starts_nothing_again() -> None:
    two = GOOD.replace("from: get,", "from: [get, more],") + "  more: {type: get, from: look}\n"
    old = deployed(two)
    found = compared(old, two.replace("[get, more]", "get"))
    assert [(c.node, c.kind, c.cut) for c in found.changes] == [("frames", "edited", ["more.media"])]
    assert deployed(two.replace("[get, more]", "get"), old, 2).nodes["frames"].since == at(1)


def test_a_backfill_ends_with_its_wire_and_with_a_new_start() -> None:
    two = GOOD + "  more: {type: get, from: look}\n"
    wired = two.replace("from: get,", "from: [get, more],")
    filling = deployed(wired, deployed(two), 2)
    assert deployed(wired + "# words", filling, 3).nodes["frames"].backfills == filling.nodes["frames"].backfills
    assert deployed(two, filling, 3).nodes["frames"].backfills == []
    assert deployed(wired.replace("2s", "3s"), filling, 3).nodes["frames"].backfills == []


def test_a_node_of_another_type_under_the_same_name() -> None:
    text = GOOD.replace('good:   {type: need, from: frames, keep: "a hand"}', "good: {type: bin, from: frames}")
    assert [(c.node, c.type, c.kind) for c in compared(deployed(GOOD), text).changes] == [
        ("good", "bin", "added"),
        ("good", "need", "removed"),
    ]


def test_pauses_outlive_deploys() -> None:
    old = deployed(GOOD)
    old.nodes["frames"].paused = True
    new = deployed(GOOD.replace("2s", "3s"), old, 2)
    assert [name for name, node in new.nodes.items() if node.paused] == ["frames"]


def full(extra: str = "") -> str:
    """A flow with 16 nodes of type cut."""
    return (
        GOOD.replace("from: get,", "from: [get], ")
        + "".join(f"  c{n}: {{type: cut, from: get, every: {n}s}}\n" for n in range(1, 16))
        + extra
    )


def test_with_all_slots_in_use_nodes_start_again_in_place() -> None:
    old = deployed(full())
    new = next_record(old, read(full(), types(cut_version=2)), at(2))
    cuts = [node for node in new.nodes.values() if node.type == "cut"]
    assert sorted(node.slot for node in cuts) == list(range(1, 17))
    assert {node.since for node in cuts} == {at(2)}


def test_with_all_slots_in_use_a_new_wire_starts_its_node_again() -> None:
    more = "  more: {type: get, from: look}\n"
    old = deployed(full(more))
    new = deployed(full(more).replace("[get]", "[get, more]"), old, 2)
    frames = new.nodes["frames"]
    assert (frames.slot, frames.since, frames.backfills) == (1, at(2), [])


def test_a_new_node_goes_before_a_backfill_where_one_slot_is_left() -> None:
    more = "  more: {type: get, from: look}\n"
    fifteen = full(more).replace("  c15: {type: cut, from: get, every: 15s}\n", "")
    new = deployed(full(more).replace("[get]", "[get, more]"), deployed(fifteen), 2)
    assert (new.nodes["c15"].slot, new.nodes["frames"].since, new.nodes["frames"].backfills) == (16, at(2), [])


def test_durables_rest_until_no_worker_can_know_them() -> None:
    assert REST.total_seconds() > worker.FRESH + worker.GRACE


def test_a_backfill_may_hold_the_last_slot() -> None:
    more = "  more: {type: get, from: look}\n"
    fifteen = full(more).replace("  c15: {type: cut, from: get, every: 15s}\n", "")
    filling = deployed(fifteen.replace("[get]", "[get, more]"), deployed(fifteen), 2)
    assert filling.nodes["frames"].backfills[0].slot == 16
    with pytest.raises(LodeError, match="all 16 consumers of type cut are in use"):
        deployed(full(more).replace("[get]", "[get, more]"), filling, 3)


def test_work_from_stored_vectors_is_told() -> None:
    old, changed = deployed(GOOD), GOOD.replace("a hand", "a foot")
    words = "works from stored vectors, and reads frames only where there are none"
    assert changed != GOOD
    assert not [line for line in compared(old, changed).lines() if words in line]
    known = types() | {"need": replace(types()["need"], reads=(keys.VECTORS,))}
    lines = compared(old, changed, known=known).lines()
    assert [line for line in lines if words in line] == [f"good (need): {words}"]
    assert not [line for line in compared(old, GOOD + "\n", known=known).lines() if words in line]
