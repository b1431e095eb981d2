"""What a run has left, looked at from outside: the tables, every object, and what of them does not fit together."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import duckdb
import msgspec

from lodestream.catalog.client import FILE
from lodestream.demo.clips import Clip, read_number
from lodestream.objects import open_objects
from proto import keys
from services.catalog.tables import DEAD, TABLES
from tests.faults.instance import Instance
from tests.support.video import pixels

PASSING = {"seq", "at", "worker", "attempts", "deliveries", "traceback", "input_seq", "repeats"}
"""Columns that tell when and where something was done, not what; `repeats`: which of several alike a frame repeats
is said of those that were looked at together."""
KEYS = {
    "seeds": "seed_id",
    "candidates": "media_id",
    "listings": "seed_id",
    "media": "media_id",
    "shards": "shard_id",
    "records": "record_id",
}
"""What must be there once in each table of history, for one node and recipe."""
MANIFEST = ("type", "recipe", "input", "outputs", "rejected")
"""What a manifest says, apart from when it was written and which versions of objects it has seen."""
CONTENT = ("media/", "frames/")
"""Objects whose every byte must be the same in two runs, aliases aside."""
ALIAS = ".same"
SHOWN = 5
"""Differences of one kind that are spelled out."""


@dataclass
class Harvest:
    """One run's outcome."""

    tables: dict[str, Counter[str]] = field(default_factory=dict)
    """Rows of each table, as text."""
    objects: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Size and SHA-256 of every object; of a manifest, of what it says but when."""
    wrong: list[str] = field(default_factory=list)
    """What is not as it must be by itself."""

    @property
    def dead(self) -> int:
        """Dead letters."""
        return self.tables["main.dead"].total()


async def reap(instance: Instance, clips: dict[str, Clip]) -> Harvest:
    """Look at an instance that has been stopped; `clips` is what the frames of each video show, by media id."""
    harvest = Harvest()
    await _read_objects(instance, harvest)
    with duckdb.connect(str(instance.home.catalog / FILE), read_only=True) as tables:
        _read_tables(tables, harvest)
        await _check_frames(tables, instance, clips, harvest)
        _check_media(tables, harvest)
        _check_repeats(tables, harvest)
    return harvest


def differences(wanted: Harvest, got: Harvest) -> list[str]:
    """In what two runs over the same site differ, in words; nothing where they do not."""
    wrong = list(got.wrong)
    for name, rows in wanted.tables.items():
        wrong += _listed(f"{name} lacks", (rows - got.tables[name]).elements())
        wrong += _listed(f"{name} has too much", (got.tables[name] - rows).elements())
    wrong += _listed("no object", wanted.objects.keys() - got.objects.keys())
    wrong += _listed("object too much", got.objects.keys() - wanted.objects.keys())
    both = wanted.objects.keys() & got.objects.keys()
    return wrong + _listed("another object", (key for key in both if wanted.objects[key] != got.objects[key]))


def _listed(what: str, things: Iterable[str]) -> list[str]:
    every = sorted(things)
    rest = [f"{what}: {len(every) - SHOWN} more"] if len(every) > SHOWN else []
    return [f"{what}: {thing}" for thing in every[:SHOWN]] + rest


async def _read_objects(instance: Instance, harvest: Harvest) -> None:
    store = open_objects(instance.objects)
    async for found in store.list(""):
        data = _lasting(found.key, await store.get(found.key))
        harvest.objects[found.key] = len(data), hashlib.sha256(data).hexdigest()


def _lasting(key: str, data: bytes) -> bytes:
    """What of an object must be the same in every run; other things in it say when something was."""
    if keys.is_manifest(key):
        said = msgspec.json.decode(data)
        return msgspec.json.encode({name: said.get(name) for name in MANIFEST})
    return data if key.startswith(CONTENT) and not key.endswith(ALIAS) else b""


def _read_tables(tables: duckdb.DuckDBPyConnection, harvest: Harvest) -> None:
    columns = {table.name: table.columns for table in (*TABLES, DEAD)}
    for name, stored in columns.items():
        for schema in ("main",) if name == "dead" else ("main", "history"):
            wanted = ", ".join(f'"{c.name}"' for c in stored if c.name not in PASSING)
            rows = tables.execute(f"select {wanted} from {schema}.{name}").fetchall()
            harvest.tables[f"{schema}.{name}"] = Counter(map(repr, rows))
    for name, key in KEYS.items():
        doubled = f"select {key}, count(*) from history.{name} group by flow, node, recipe, {key} having count(*) > 1"
        harvest.wrong += _listed(f"history.{name} has doubles", map(repr, tables.execute(doubled).fetchall()))


def _check_media(tables: duckdb.DuckDBPyConnection, harvest: Harvest) -> None:
    """Every object that a message names is there, with its size and digest."""
    for key, *stated in tables.execute("select object_key, bytes, sha256 from main.media").fetchall():
        if harvest.objects.get(key) != tuple(stated):
            harvest.wrong.append(f"{key} is {harvest.objects.get(key)}, and its message says {stated}")


def _check_repeats(tables: duckdb.DuckDBPyConnection, harvest: Harvest) -> None:
    """What a frame repeats is a frame that is there, and that is new to the flow."""
    odd = """select frame_id, repeats from duplicates d where not exists
        (from uniques u where u.flow = d.flow and u.node = d.node and u.frame_id = d.repeats)"""
    harvest.wrong += _listed("repeats what is none", map(repr, tables.execute(odd).fetchall()))


async def _check_frames(
    tables: duckdb.DuckDBPyConnection, instance: Instance, clips: dict[str, Clip], harvest: Harvest
) -> None:
    """Every frame is a picture of its video at its time."""
    store, wrong = open_objects(instance.objects), []
    found = tables.execute("select media_id, shard_key, time_ms, byte_offset, byte_length from main.shards").fetchall()
    for media_id, key, times, offsets, lengths in found:
        if key not in harvest.objects:
            wrong.append(f"no {key}")
            continue
        tar, shown = await store.get(key), _numbers(clips[media_id])
        for time_ms, offset, length in zip(times, offsets, lengths, strict=True):
            picture = read_number(pixels(tar[offset : offset + length]))
            if picture != shown.get(time_ms, -1):
                wrong.append(f"{key}: at {time_ms} ms it shows picture {picture}, not {shown.get(time_ms)}")
    harvest.wrong += _listed("frame", wrong)


def _numbers(clip: Clip) -> dict[Any, int]:
    """The number of the picture shown at each time, in milliseconds."""
    return {round(time * 1000): number for number, time in enumerate(clip.times())}
