"""Whether the lists of a message fit together: each may be well by itself."""

from collections.abc import Collection, Iterable

from proto.messages import Boxes, Kept, Shard, Unique


def shard(message: Shard) -> None:
    """Raises ValueError where a shard does not say of every frame when it is and where it lies."""
    _same("`time_ms`, `offset` and `length`", (message.time_ms, message.offset, message.length))


def seen(message: Kept | Unique | Boxes) -> None:
    """Raises ValueError where a message does not say as much as its shard has, or speaks of frames that it has not."""
    shard(message.shard)
    count = len(message.shard.time_ms)
    match message:
        case Kept():
            _same("`reason`, `detail`, `measures`, `scores` and the shard", _by_frame(message))
            _within(message.kept, count)
        case Unique():
            _within([*message.unique, *message.broken, *(repeat.index for repeat in message.repeats)], count)
        case Boxes():
            lists = (message.frames, message.boxes, message.labels, message.scores)
            _same("`frames`, `boxes`, `labels` and `scores`", lists)
            for of_frame in zip(*lists[1:], strict=True):
                _same("the boxes, labels and scores of a frame", of_frame)
            _within([*message.frames, *message.broken], count)


def _by_frame(message: Kept) -> Iterable[Collection[object]]:
    told = (message.detail,) if message.detail else ()
    return (message.shard.time_ms, message.reason, *told, *message.measures.values(), *message.scores.values())


def _same(what: str, lists: Iterable[Collection[object]]) -> None:
    if len({len(each) for each in lists}) > 1:
        raise ValueError(f"{what} differ in length")


def _within(indices: list[int], count: int) -> None:
    if indices and max(indices) >= count:
        raise ValueError(f"frame {max(indices)} of a shard of {count}")
