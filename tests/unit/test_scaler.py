"""The scaler's settings, what compose.yaml gives it, and how a decision reads."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lodestream.cli.screen import scaled
from lodestream.errors import LodeError
from lodestream.process import Process
from lodestream.registry import node_types
from lodestream.scaling.policy import read_limits
from proto.messages import Scaled
from services.scaler import __main__ as scaler
from services.scaler import hands
from services.scaler.wire import SCALE

COMPOSE = Path(__file__).parents[2] / "compose.yaml"


def test_compose_names_every_node_type_and_each_can_be_set() -> None:
    services = YAML(typ="safe").load(COMPOSE)["services"]
    written = services["scaler"]["environment"][SCALE]
    assert services["hands"]["environment"][SCALE] == written
    limits = read_limits(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", written))
    assert set(limits) == set(node_types())
    assert {bounds.least for bounds in limits.values()} == {1}
    for kind in limits:
        assert f"{kind}=${{{SCALE}_{kind.upper()}:-" in written


def test_only_the_hands_have_the_engine_and_no_network() -> None:
    services = YAML(typ="safe").load(COMPOSE)["services"]
    assert [name for name, of in services.items() if "docker.sock" in str(of.get("volumes"))] == ["hands"]
    door = services["hands"]
    assert (door["network_mode"], door["cap_drop"], door["read_only"]) == ("none", ["ALL"], True)
    assert door["profiles"] == services["scaler"]["profiles"] == ["autoscale"]
    assert [name for name, of in services.items() if "hands:" in str(of.get("volumes"))] == ["scaler", "hands"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not set: LODE_SCALE; it names the services, such as"),
        ("extract=4", "'extract=4' is not SERVICE=LEAST-MOST"),
    ],
)
def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    monkeypatch.setenv(SCALE, text)
    with pytest.raises(SystemExit, match=f"^scaler: {words}"):
        scaler.main()


def test_the_hands_say_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCALE, "extract=0-4")
    with pytest.raises(SystemExit, match=r"^hands: 'extract=0-4' is not"):
        hands.main()


def test_who_stores_nothing_needs_no_object_store(tmp_path: Path) -> None:
    env = {"LODE_NATS_URL": "nats://127.0.0.1:1", "LODE_WORK": str(tmp_path)}
    assert Process.from_env(env, stores=False).objects == ""
    with pytest.raises(LodeError, match="not set: LODE_OBJECTS;"):
        Process.from_env(env)


def test_how_a_decision_reads() -> None:
    at = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    change = Scaled(id="extract", at=at, before=1, after=2, waiting=9, in_flight=1, reason="9 wait, about 45 s of work")
    assert scaled(change) == "extract 1 -> 2, 5 min ago: 9 wait, about 45 s of work"
