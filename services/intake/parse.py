"""Turns what people write into seeds, or says in one line why it is none."""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from lodestream.errors import Malformed
from lodestream.units import Duration
from proto.messages import Seed
from services.intake import kinds
from services.intake.naming import seed_id
from services.intake.payload import ALLOWED, read_json

ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
Text = Annotated[str, Meta(max_length=256, pattern=ONE_LINE)]


class Fields(msgspec.Struct, forbid_unknown_fields=True):
    """A seed in JSON. A kind may stand in place of `value`: `{"url": "https://..."}`."""

    value: str
    kind: str = ""
    limit: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    timeout: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    labels: Annotated[dict[Text, Text], Meta(max_length=32)] = {}
    round: Annotated[str, Meta(max_length=64, pattern=ONE_LINE)] = ""
    lines: str = ""
    first: Annotated[int, Meta(ge=1)] = 1


FIELDS = Fields.__struct_fields__
WANTED = {
    "value": "text",
    "kind": "text",
    "limit": "a whole number from 1 to 100000",
    "timeout": 'seconds over 0 and up to a day, as 60 or "5m"',
    "labels": "an object of up to 32 texts of one line and up to 256 letters",
    "round": "text of one line and up to 64 letters",
    "lines": "text: records, JSON a line",
    "first": "a whole number from 1",
}

_PREFIX = re.compile(r"([A-Za-z]{3,10})(\s*:\s*(?!//)|\s+)(?=\S)")


def seed(given: Any) -> Seed:
    """The seed that a line, or an item of JSON, stands for. Raises Malformed."""
    if isinstance(given, dict):
        return _from_object(given)
    if not isinstance(given, str):
        raise Malformed("not a seed", f"{_shown(given)} alone; {ALLOWED}")
    return _from_line(given.strip())


def _from_line(line: str) -> Seed:
    if line[:1] == "{":
        return _from_object(read_json(line))
    if line in ("null", "true", "false"):
        raise Malformed("not a seed", f'{line} alone; to search for it, {{"query": "{line}"}}')
    kind, value = _prefixed(_unquoted(line))
    return _made(Fields(value, kind or kinds.infer(value)))


def _unquoted(line: str) -> str:
    """What a JSON string says; other quotes belong to a search."""
    try:
        value = msgspec.json.decode(line) if line[:1] == '"' else line
    except ValueError:
        return line
    return value.strip() if isinstance(value, str) else line


def _prefixed(line: str) -> tuple[str, str]:
    """Kind and value of `channel https://...` or `query: words`; no kind where the line names none."""
    match = _PREFIX.match(line)
    if not match or kinds.is_url(line) or kinds.is_path(line):
        return "", line
    word, colon, rest = match[1].lower(), ":" in match[2], line[match.end() :]
    points = kinds.is_url(rest) or kinds.is_path(rest)
    if word in kinds.KINDS and (colon or points):
        return word, rest
    if word in FIELDS and colon:
        raise Malformed("not a seed", f'{word}: is for a seed in JSON, such as {{"kind": "query", "value": "words"}}')
    if colon and points:
        raise kinds.unknown("kind", word, kinds.KINDS)
    return "", line


def _from_object(given: dict[str, Any]) -> Seed:
    named = {name: value for name, value in given.items() if value is not None}
    if strange := [name for name in named if name not in (*FIELDS, *kinds.KINDS)]:
        raise kinds.unknown("field", strange[0], FIELDS)
    fields = _read(_spelled_out(named))
    if not fields.kind:
        fields.kind = kinds.infer(fields.value.strip())
    if fields.kind not in kinds.KINDS:
        raise kinds.unknown("kind", fields.kind, kinds.KINDS)
    return _made(fields)


def _spelled_out(given: dict[str, Any]) -> dict[str, Any]:
    """`kind` and `value` in place of a field that is named like a kind."""
    names = [name for name in (*kinds.KINDS, "value") if name in given]
    if len(names) != 1:
        raise Malformed("bad field", f"{' and '.join(names)} together; one of them" if names else "value: missing")
    if (name := names[0]) == "value":
        return given
    kind = given.get("kind", name)
    if kind != name and name != "url":
        raise Malformed("bad field", f"kind {_shown(kind)} and {name} contradict each other")
    return {**{k: v for k, v in given.items() if k != name}, "kind": kind, "value": given[name]}


def _read(given: dict[str, Any]) -> Fields:
    try:
        if isinstance(given.get("timeout"), str):
            given = {**given, "timeout": float(Duration.parse(given["timeout"]))}
        return msgspec.convert(given, Fields)
    except msgspec.ValidationError as error:
        name = re.search(r"\$\.(\w+)", str(error))
        field = name[1] if name else "labels"
        raise Malformed("bad field", f"{field}: {_shown(given[field])}; wanted: {WANTED[field]}") from error
    except ValueError as error:
        raise Malformed("bad field", f"timeout: {error}; wanted: {WANTED['timeout']}") from error


def _made(fields: Fields) -> Seed:
    if fields.lines and fields.kind != "records":
        raise Malformed("bad field", f"lines: of a seed of kind {fields.kind}; only records have lines")
    value = kinds.checked(fields.kind, fields.value)
    return Seed(
        id=seed_id(fields.kind, value, fields.limit, fields.round, fields.lines),
        kind=fields.kind,  # type: ignore[arg-type]
        value=value,
        limit=fields.limit,
        timeout=fields.timeout,
        labels=fields.labels,
        round=fields.round,
        lines=fields.lines,
        first=fields.first,
    )


def _shown(value: Any) -> str:
    """A value as JSON writes it, cut short."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."
