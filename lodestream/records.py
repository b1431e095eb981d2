"""Records: JSON objects, and how one is known again."""

import msgspec

from proto import ids

LONGEST = 256 << 10
"""Bytes of a record that a message carries; a longer one is an object."""


class NoRecord(ValueError):
    """Text that is no record; its words say why."""


def compact(text: bytes) -> bytes:
    """A record on one line, each number and string as it was spelled. Raises NoRecord."""
    try:
        if not isinstance(msgspec.json.decode(text), dict):
            raise NoRecord("JSON, but no object")
        return msgspec.json.format(text, indent=-1)
    except RecursionError:
        raise NoRecord("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise NoRecord(f"not UTF-8 (byte {error.start} of a text in it)") from None
    except msgspec.MsgspecError as error:
        raise NoRecord(str(error).removeprefix("JSON is malformed: ")) from None


def identity(record: bytes, scope: str, own: str) -> str:
    """The id of a record in the collection `scope`: by its field `own` (a dotted path), else by its content.

    The order of fields does not matter. A record without that field is known by its content.
    """
    named = dig(msgspec.Raw(record), own) if own else None
    value = msgspec.json.decode(named) if named is not None else None
    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        return ids.record_id(scope, str(value))
    return ids.content_id(msgspec.json.encode(msgspec.json.decode(record), order="sorted"))


def dig(text: msgspec.Raw, path: str) -> msgspec.Raw | None:
    """What lies at a dotted path of field names, as it is spelled there; None where there is nothing."""
    for name in path.split("."):
        try:
            found = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get(name)
        except msgspec.ValidationError:
            return None
        if found is None:
            return None
        text = found
    return text


def scope(value: str) -> str:
    """The collection within which a record's own id means one record: a path, or a URL apart from its query."""
    return value.partition("?")[0]
