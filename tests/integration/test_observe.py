"""What the profile `observe` asks the real servers: MinIO's figures by token, the figures that the dashboard draws."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import nats
import pytest

from lodestream.compose import init, places, store
from lodestream.flow.stream import ensure
from lodestream.registry import node_types
from lodestream.rights import CATALOG, SCALER
from lodestream.streams import ensure_streams
from tests.support.servers import die_with_parent, free_port, start_minio, start_nats

OBSERVE = Path(__file__).resolve().parents[2] / "deploy/observe"
DASHBOARD = json.loads((OBSERVE / "grafana/dashboards/lodestream.json").read_text())
FIGURES = "minio/v2/metrics/cluster"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secrets of a stack, all for whoever runs the test."""
    root = tmp_path_factory.mktemp("secrets") / "run"
    services = (
        CATALOG,
        SCALER,
        places.NATS,
        places.MINIO,
        places.HOUSE,
        places.PROMETHEUS,
        places.LOKI,
        places.GRAFANA,
    )
    init.make(dict.fromkeys((*node_types(), *services), os.getuid()), node_types(), root, root / "none")
    return root


@pytest.fixture
def minio(tmp_path: Path, secrets: Path) -> Iterator[str]:
    """A store with the user that asks for figures."""
    with start_minio(tmp_path) as server:
        address = server.url.rpartition("@")[2].partition("/")[0]
        users = {places.PROMETHEUS: places.objects_key(places.PROMETHEUS, secrets).read_text().strip()}
        policies = {places.PROMETHEUS: store.of_prometheus()}
        store.provision(address, ("tester", "only-for-tests"), users, policies)
        yield address


def figures(address: str, token: str = "") -> str:
    """What the store says of itself."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(f"http://{address}/{FIGURES}", headers=headers), timeout=10) as answer:
        return str(answer.read().decode())


def test_minio_shows_its_figures_to_the_token_and_to_nobody_else(minio: str, secrets: Path) -> None:
    token = places.figures(secrets).read_text()
    said = figures(minio, token)
    for name in drawn("minio_"):
        assert f"\n{name}" in said
    for other in ("", token[:-4] + "AAAA"):
        with pytest.raises(HTTPError, match="403"):
            figures(minio, other)


def test_the_user_of_the_figures_sees_no_object(minio: str, secrets: Path) -> None:
    from minio import Minio
    from minio.error import S3Error

    key = places.objects_key(places.PROMETHEUS, secrets).read_text().strip()
    client = Minio(minio, places.PROMETHEUS, key, secure=False, region="us-east-1")
    with pytest.raises(S3Error, match="AccessDenied"):
        list(client.list_objects("lodestream"))


def drawn(beginning: str) -> set[str]:
    """The figures that the dashboard draws whose names begin so."""
    expressions = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    return set(re.findall(rf"\b{beginning}\w+", expressions))


async def test_every_figure_of_streams_that_is_drawn_is_there(tmp_path: Path) -> None:
    if not (program := shutil.which("prometheus-nats-exporter")):
        pytest.skip("no program prometheus-nats-exporter")
    watched, port = free_port(), free_port()
    with start_nats(tmp_path, f'http: "127.0.0.1:{watched}"\n') as server:
        nc = await nats.connect(server.url)
        await ensure_streams(nc)
        await ensure(nc, "t", [])
        await nc.jetstream().add_consumer("FLOW_t", durable_name="fetch-1", ack_policy="explicit")
        await nc.close()
        with exporter(program, port, watched, tmp_path / "exporter.log"):
            said = exported(port)
    assert {name for name in drawn("jetstream_") if f"\n{name}{{" not in said} == set()
    assert 'consumer_name="fetch-1"' in said
    assert 'stream_name="FLOW_t"' in said


@contextmanager
def exporter(program: str, port: int, watched: int, log: Path) -> Iterator[None]:
    """The exporter, as compose.yaml has it run."""
    command = [program, "-addr", "127.0.0.1", "-port", str(port), "-varz", "-jsz=all", f"http://127.0.0.1:{watched}"]
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, preexec_fn=die_with_parent)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def exported(port: int) -> str:
    """What the exporter tells Prometheus, once it does."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                if "jetstream_consumer" in (said := str(answer.read().decode())):
                    return said
        except OSError:
            pass
        assert time.monotonic() < deadline, "the exporter tells nothing"
        time.sleep(0.2)


def test_prometheus_understands_what_it_is_to_ask_and_is_asked(secrets: Path, tmp_path: Path) -> None:
    if not (program := shutil.which("promtool")):
        pytest.skip("no program promtool")
    config, rules = tmp_path / "prometheus.yml", tmp_path / "rules.json"
    config.write_text((OBSERVE / "prometheus.yml").read_text().replace("/run/lode", str(secrets)))
    targets = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
    asked = [target["expr"] for target in targets if target["datasource"]["type"] == "prometheus"]
    written = [{"record": f"asked_{number}", "expr": expression} for number, expression in enumerate(asked)]
    rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": written}]}))
    for check in (("config", config), ("rules", rules)):
        checked = subprocess.run([program, "check", *check], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
