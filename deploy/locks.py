"""Which lines of requirements.lock each image needs, hashes included, so that an image carries no more than that.

`python deploy/locks.py pick SERVICE` prints them (standard library only: it runs inside an image); `write` computes
needs.json from the extras of pyproject.toml and what is installed.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDS = HERE / "needs.json"
BASE = "base"
"""What every service needs."""
HOUSE = ["aiohttp", "w3lib"]
"""Imported by the declarations of the node types, which the house knows all of."""


def pick(service: str, lock: str) -> str:
    """The part of a lock file that a service needs, the base aside. Raises KeyError for an unknown one."""
    wanted = set(json.loads(NEEDS.read_text())[service])
    blocks = re.split(r"\n(?=[A-Za-z0-9])", lock.strip())
    return "\n".join(block for block in blocks if _name(block) in wanted) + "\n"


def needs(services: list[str]) -> dict[str, list[str]]:
    """The distributions that each service needs, the base first; each of the others without those."""
    base = _closure("lodestream", "")
    found = {BASE: sorted(base), "house": sorted({n for name in HOUSE for n in _closure(name, "") | {name}} - base)}
    return found | {service: sorted(_closure("lodestream", service) - base) for service in services}


def _closure(name: str, extra: str) -> set[str]:
    """Everything that a distribution needs with an extra, as this machine has it installed."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = [Requirement(line) for line in _requires(name)]
    waiting = [r for r in waiting if r.marker is None or r.marker.evaluate({"extra": extra})]
    while waiting:
        requirement = waiting.pop()
        if (needed := _plain(requirement.name)) in found:
            continue
        found.add(needed)
        extras = [*requirement.extras, ""]
        below = [Requirement(line) for line in _requires(needed)]
        waiting += [r for r in below if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras)]
    return found - {"lodestream"}


def _requires(name: str) -> list[str]:
    """What a distribution asks for; the project itself is read from its pyproject.toml."""
    from importlib.metadata import requires

    if name != "lodestream":
        return requires(name) or []
    import tomllib

    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"].items()
    return [*project["dependencies"], *(f'{line}; extra == "{extra}"' for extra, lines in optional for line in lines)]


def _name(block: str) -> str:
    return _plain(re.split(r"[=\[ ;]", block, maxsplit=1)[0])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Entry point."""
    if sys.argv[1:2] == ["pick"]:
        sys.stdout.write(pick(sys.argv[2], (HERE.parent / "requirements.lock").read_text()))
    else:
        services = sorted(path.parent.name for path in (HERE.parent / "services").glob("*/__init__.py"))
        NEEDS.write_text(json.dumps(needs(services), indent=1) + "\n")


if __name__ == "__main__":
    main()
