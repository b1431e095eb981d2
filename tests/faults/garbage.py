"""Malformed input of every kind, from a seeded generator: seeds, messages, flow files, command lines."""

import json
import random
from collections.abc import Callable
from typing import Any

from proto.messages import Candidate, Media, Message, Seed, encode

NASTY = [
    *("", " ", "\0", "\n", "\t", "../x", "..%2f..%2fetc", "*.>", ">", "*", "$JS.API.>", "a.b", "a b", "-", "--help"),
    *(
        "null",
        "true",
        "NaN",
        "1e999",
        "0x10",
        "\ud800",
        "\udfff x",
        "\u202e",
        "\ufeff",
        "é" * 97,
        "x" * 5000,
        "倒立",
        "🤸" * 40,
    ),
    *(
        "file:///etc/passwd",
        "file://host/x",
        "/etc/passwd",
        "http://[",
        "http://[::1",
        "http://127.0.0.2:1/",
        "http://0/",
    ),
    *("https://exa mple.com/", "http://a:b@127.0.0.2/", "http://127.0.0.2:99999/", "javascript:alert(1)", "data:,x"),
    *("http://xn--/", "http://\u2100/", "http://a..b/", "http://%00/", "https://" + "a." * 300, "ftp://127.0.0.2/x"),
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "&a",
        "*a",
        "!!python/object:x",
        "%s%n",
        "${x}",
        "`x`",
        "<html>",
        "#",
        "a: b",
        "- a",
    ),
]
"""Words that something may stumble over."""
NUMBERS: list[Any] = [0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, 5e-324, 10**18]
SEED = {"kind": "query", "value": "x", "limit": 5, "timeout": 60, "labels": {"a": "b"}, "round": "1"}
KINDS = ("query", "url", "channel", "playlist", "feed", "gallery", "list", "folder", "records", "vidoe")
FLOW = """\
flow: cats
nodes:
  seeds:  {type: intake}
  find:   {type: discover, from: seeds, limit: 200}
  get:    {type: fetch, from: find, max_height: 720, max_bytes: 2GiB}
  frames: {type: extract, from: get, every: 1s}
"""


def value(rng: random.Random, depth: int = 3) -> Any:
    """Anything that JSON can say."""
    kind = rng.randrange(7 if depth else 5)
    if kind == 0:
        return rng.choice(NUMBERS)
    if kind in (1, 2):
        return rng.choice(NASTY)
    if kind in (3, 4):
        return rng.choice([None, True, False, rng.random() * 10 ** rng.randrange(-300, 300), rng.randrange(2**70)])
    if kind == 5:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice([*NASTY, *SEED]): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def written(rng: random.Random, given: Any) -> bytes:
    """As JSON, lone surrogates as escapes or as bytes that are no UTF-8."""
    if rng.random() < 0.5:
        return json.dumps(given).encode()
    return json.dumps(given, ensure_ascii=False).encode("utf-8", "surrogatepass")


def deep(rng: random.Random) -> bytes:
    """Nested beyond reason."""
    opening = rng.choice(['{"a":', "[", '[{"value":', '{"labels":{"a":'])
    return (opening * rng.choice((50, 1000, 60_000)))[:250_000].encode()


def hurt(rng: random.Random, data: bytes) -> bytes:
    """Bytes that were something good, and are a little wrong."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(changed) + 1)
        how = rng.randrange(4)
        if how == 0:
            del changed[at : at + rng.choice((1, 1, 10))]
        elif how == 1:
            changed[at:at] = rng.choice(NASTY).encode("utf-8", "surrogatepass")[:200]
        elif how == 2:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        else:
            changed[at:at] = changed[at : at + rng.randrange(1, 30)]
    return bytes(changed)


def seed(rng: random.Random) -> bytes:
    """What somebody might publish as a seed, and should not."""
    makers: list[Callable[[], bytes]] = [
        lambda: rng.randbytes(rng.choice((1, 5, 200))),
        lambda: rng.choice(NASTY).encode("utf-8", "surrogatepass"),
        lambda: f"{rng.choice(KINDS)}{rng.choice((': ', ' ', ':'))}{rng.choice(NASTY)}".encode(
            "utf-8", "surrogatepass"
        ),
        lambda: written(rng, value(rng)),
        lambda: written(rng, SEED | {rng.choice([*SEED, "valu", "url"]): value(rng)}),
        lambda: written(rng, {rng.choice(KINDS): rng.choice(NASTY)}),
        lambda: hurt(rng, written(rng, SEED)),
        lambda: b"\n".join(rng.choice(NASTY).encode("utf-8", "surrogatepass") for _ in range(rng.randrange(9))),
        lambda: deep(rng),
    ]
    return rng.choice(makers)()


def examples() -> dict[str, Message]:
    """A good message of each type that some node takes."""
    about: dict[str, Any] = {"url": "http://127.0.0.2:1/a.mp4", "source": "127.0.0.2"}
    facts: dict[str, Any] = {"bytes": 1, "container": "mp4", "codec": "h264", "width": 1, "height": 1}
    return {
        "discover": Seed(id="url-x", kind="url", value="http://127.0.0.2:1/a.mp4"),
        "fetch": Candidate(id="web-x", seed="url-x", **about),
        "extract": Media(id="web-x", sha256="0" * 64, object_key="media/web-x/none.mp4", **about, **facts),
    }


def message(rng: random.Random, good: Message) -> bytes:
    """A message of a type that a node takes, malformed; now and then it only looks so."""
    fields = json.loads(encode(good))
    makers: list[Callable[[], bytes]] = [
        lambda: hurt(rng, encode(good)),
        lambda: written(rng, value(rng)),
        lambda: written(rng, fields | {rng.choice([*fields, "x"]): value(rng)}),
        lambda: written(rng, {name: said for name, said in fields.items() if rng.random() < 0.7}),
        lambda: written(
            rng, fields | {"type": rng.choice(["seed", "media", "candidate", "dead", "again", "", 5, None])}
        ),
        lambda: written(rng, fields | {"id": rng.choice(NASTY)}),
        lambda: deep(rng),
        lambda: rng.randbytes(rng.randrange(300)),
    ]
    return rng.choice(makers)()


def flow(rng: random.Random) -> str:
    """A flow file that is none."""
    makers: list[Callable[[], str]] = [
        lambda: hurt(rng, FLOW.encode()).decode("utf-8", "replace"),
        lambda: FLOW.replace(rng.choice(FLOW.split()), rng.choice(NASTY), 1),
        lambda: FLOW + f"  {rng.choice(NASTY)}: {json.dumps(value(rng))}\n",
        lambda: FLOW.replace("200", json.dumps(value(rng)), 1).replace("1s", json.dumps(value(rng, 1)), 1),
        lambda: json.dumps(value(rng, 5)),
        lambda: rng.choice("[{-&*!?|>'\"%@`\t: ") * rng.choice((3, 100, 5000)),
        lambda: bomb(rng),
        lambda: FLOW.replace("  find:", "\tfind:").replace("get", "seeds", 1),
        lambda: "".join(f"{' ' * n}a{n}:\n" for n in range(rng.choice((10, 100, 600)))),
        lambda: (
            FLOW
            + "".join(f"  n{n}: {{type: extract, from: get}}\n" for n in range(rng.choice((20, 20, 300, 300, 3000))))
        ),
        lambda: "".join(chr(rng.randrange(1, 0x3000)) for _ in range(rng.randrange(80))),
    ]
    return rng.choice(makers)()


def bomb(rng: random.Random) -> str:
    """Aliases of aliases."""
    wide, high = rng.choice(((2, 30), (10, 9), (50, 4))), rng.choice(("[{}]", "{{x: {}}}"))
    rows = [f"a{n}: &a{n} {high.format(', '.join([f'*a{n - 1}'] * wide[0]))}" for n in range(1, wide[1])]
    return "\n".join(["a0: &a0 [1]", *rows])


def arguments(rng: random.Random, options: list[str]) -> list[str]:
    """Arguments for a command that has these options."""
    plain = [word.replace("\0", "") for word in NASTY]  # no program can be given a NUL
    plain = [word.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for word in plain]
    words = [*plain, *options, *options, *(f"{option}={word}" for option in options for word in plain[:3])]
    words += [str(number)[:50] for number in NUMBERS]
    return [rng.choice(words)[:2000] for _ in range(rng.randrange(5))]
