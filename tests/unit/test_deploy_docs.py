"""The page of deploy/ names every setting, user and image there is, and what `observe` is given is well-formed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lodestream import rights
from lodestream.registry import node_types

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "deploy/README.md").read_text()
TEXT = (ROOT / "compose.yaml").read_text()
SERVICES = YAML(typ="safe").load(TEXT)["services"]
OBSERVE = ROOT / "deploy/observe"
GRAFANA = OBSERVE / "grafana"
WATCHERS = [name for name, service in SERVICES.items() if "observe" in service.get("profiles", [])]


@pytest.mark.parametrize("setting", sorted(set(re.findall(r"\$\{(\w+):-", TEXT))))
def test_every_setting_is_documented_with_its_default(setting: str) -> None:
    (default,) = set(re.findall(rf"\$\{{{setting}:-([^}}]*)\}}", TEXT))
    short = setting.removeprefix("LODE_SCALE")
    (row,) = [
        line
        for line in PAGE.splitlines()
        if line.startswith("| `") and (f"`{setting}`" in line or f"`{short}`" in line)
    ]
    assert default in row


@pytest.mark.parametrize("user", rights.users(node_types()))
def test_every_user_is_documented(user: str) -> None:
    assert f"`{user}`" in PAGE.partition("## Who may do what")[2].partition("## Images")[0]


@pytest.mark.parametrize("name", [*node_types(), "house", "catalog"])
def test_every_image_has_a_size(name: str) -> None:
    assert re.search(rf"^\| `lodestream/{name}` \| \d+ MB \| \d+ MB \|$", PAGE, re.M)


@pytest.mark.parametrize("name", WATCHERS)
def test_what_watches_is_pinned_and_as_hardened_as_the_rest(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert service["read_only"]
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "docker.sock" not in str(service)
    assert service.get("networks", ["observe"]) == ["observe"]


def test_only_grafana_publishes_a_port() -> None:
    assert [name for name in WATCHERS if SERVICES[name].get("ports")] == ["grafana"]


def test_what_observe_is_given_is_there() -> None:
    given = {
        volume.split(":")[0]
        for name in WATCHERS
        for volume in SERVICES[name].get("volumes", [])
        if str(volume)[0] == "."
    }
    assert {ROOT / path for path in given} == {
        OBSERVE / name for name in ("prometheus.yml", "loki.yaml", "logs.yaml", "grafana")
    }


def test_every_panel_draws_from_a_source_that_there_is() -> None:
    sources = {one["uid"]: one for one in load(GRAFANA / "datasources/sources.yaml")["datasources"]}
    panels = json.loads((GRAFANA / "dashboards/lodestream.json").read_text())["panels"]
    for panel in panels:
        for target in panel["targets"]:
            assert target["datasource"]["type"] == sources[target["datasource"]["uid"]]["type"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert not any(overlap(a["gridPos"], b["gridPos"]) for a in panels for b in panels if a is not b)


def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    """Whether two panels lie on each other."""
    beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    return not (beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"])


def test_hosts_are_services_on_their_ports() -> None:
    asked = re.findall(r'"([a-z]+):(\d+)"', (OBSERVE / "prometheus.yml").read_text())
    asked += re.findall(r"http://([a-z]+):(\d+)", (GRAFANA / "datasources/sources.yaml").read_text())
    asked.append((load(OBSERVE / "logs.yaml")["pipeline"]["outputs"][0]["host"], "3100"))
    assert {host for host, _ in asked} == {"nats", "minio", "prometheus", "loki"}
    assert all("observe" in SERVICES[host]["networks"] for host, _ in asked)
    assert load(OBSERVE / "loki.yaml")["server"]["http_listen_port"] == 3100


def load(path: Path) -> Any:
    """A file of YAML."""
    return YAML(typ="safe").load(path)
