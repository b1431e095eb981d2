"""Each image has all that its service imports, at its start or later."""

import ast
import json
from pathlib import Path

import pytest

from lodestream.registry import node_types
from tests.compose.project import ROOT, docker

SERVICES = (*node_types(), "catalog", "scaler")
IMPORT = """
import json, sys
from importlib import import_module
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        import_module(name)
    except ImportError as error:
        failed[name] = str(error)
print(json.dumps(failed))
"""


def imports(file: Path) -> set[str]:
    """What a file imports at its top or within a function, and not for types alone."""
    tree = ast.parse(file.read_text())
    typed = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    left_out = {id(inner) for node in typed for each in node.body for inner in ast.walk(each)}
    found = set()
    for node in ast.walk(tree):
        if id(node) not in left_out and isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif id(node) not in left_out and isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_every_module_of_a_service_is_there(images: None, service: str) -> None:
    folder = ROOT / "services" / service
    own = {f"services.{service}.{file.stem}" for file in folder.glob("*.py") if not file.stem.startswith("__")}
    wanted = own.union(*(imports(file) for file in folder.glob("*.py"))) - {"__future__"}
    assert len(wanted) > 5
    done = docker(
        "run", "--rm", "--network", "none", f"lodestream/{service}", "python", "-c", IMPORT, json.dumps([*wanted])
    )
    assert json.loads(done.stdout) == {}
