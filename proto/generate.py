"""Writes the contract for other languages: a JSON Schema for each message, and an AsyncAPI document of the subjects.

`python -m proto.generate`; a test fails where what is written differs from what the messages say.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from proto import subjects
from proto.messages import KINDS, DeadLetter, Message, Resolved, Scaled, Seed

FOLDER = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"
PARAMETERS = {
    "flow": "name of a flow",
    "type": "node type",
    "node": "name of a node in its flow",
    "port": "port of the node type",
    "entity": "id of what the message is about, and its recipe where it has one",
}
FLOW, TYPE, NODE, PORT, ENTITY = (f"{{{name}}}" for name in PARAMETERS)


def documents() -> dict[str, str]:
    """Every generated file by its path in `proto/`."""
    found = {f"schemas/{tag(kind)}.json": schema(kind) for kind in KINDS} | {"schemas/wish.json": wish()}
    found["asyncapi.json"] = asyncapi()
    return {path: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for path, content in found.items()}


def tag(kind: type[Message]) -> str:
    """A message type as it names itself on the wire."""
    return str(kind.__struct_config__.tag)


def schema(kind: type[Message]) -> dict[str, Any]:
    """The JSON Schema of one message."""
    _, found = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    own = found.pop(kind.__name__)
    return {"$schema": DIALECT, **own} | ({"$defs": found} if found else {})


def wish() -> dict[str, Any]:
    """The JSON Schema of a seed as people publish it: without what the engine adds, and only its value is needed."""
    engines = {"type", *Message.__struct_fields__}
    properties = {name: rule for name, rule in schema(Seed)["properties"].items() if name not in engines}
    properties["timeout"] = {"anyOf": [*properties["timeout"]["anyOf"], {"type": "string", "examples": ["5m"]}]}
    text = "A seed as people publish it; its kind is inferred where it is not given."
    return {"$schema": DIALECT, "title": "Wish", "description": text} | {
        "type": "object",
        "properties": properties,
        "required": ["value"],
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: which messages travel on which subjects."""
    letters = [tag(DeadLetter), tag(Resolved)]
    outputs = [tag(kind) for kind in KINDS if tag(kind) not in (*letters, tag(Scaled))]
    channels = {
        "seeds": _channel(subjects.seeds(FLOW), "Where people publish what a flow is to look for.", list(_WISHES)),
        "outputs": _channel(
            subjects.output(FLOW, TYPE, NODE, PORT, ENTITY),
            "Everything that nodes give; a subject is stored once, for ever.",
            outputs,
        ),
        "dead": _channel(subjects.dead(FLOW, TYPE, NODE, ENTITY), "What could not be done.", letters),
        "progress": _channel(subjects.progress(FLOW, TYPE, NODE), "What a worker does now; not stored.", ["progress"]),
        "scaling": _channel(subjects.scaling(TYPE), "How many workers a service has, and why.", [tag(Scaled)]),
    }
    operations = {name: _operation(name, "receive" if name == "seeds" else "send") for name in channels}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Lodestream", "version": "1", "description": "Mines the web's video into datasets, on NATS."},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": {tag(kind): _message(kind) for kind in KINDS} | _WISHES | _PROGRESS},
    }


_WISHES: dict[str, Any] = {
    "wish": {
        "name": "wish",
        "summary": "A seed in JSON, or an array of them.",
        "payload": {"$ref": "./schemas/wish.json"},
    },
    "lines": {
        "name": "lines",
        "summary": "In each line a bare URL, words to search for, or a seed in JSON.",
        "contentType": "text/plain",
        "payload": {"type": "string"},
    },
}
_PROGRESS: dict[str, Any] = {
    "progress": {"name": "progress", "summary": "How far each message in hand is.", "payload": {"type": "object"}}
}


def _channel(address: str, description: str, messages: list[str]) -> dict[str, Any]:
    named = {name: {"description": text} for name, text in PARAMETERS.items() if f"{{{name}}}" in address}
    refs = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return {"address": address, "description": description, "parameters": named, "messages": refs}


def _operation(channel: str, action: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}


def _message(kind: type[Message]) -> dict[str, Any]:
    summary = (kind.__doc__ or "").splitlines()[0]
    return {"name": tag(kind), "summary": summary, "payload": {"$ref": f"./schemas/{tag(kind)}.json"}}


if __name__ == "__main__":
    for path, text in documents().items():
        (FOLDER / path).parent.mkdir(exist_ok=True)
        (FOLDER / path).write_text(text, "utf-8")
