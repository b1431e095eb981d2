"""The manifests of deploy/k8s: valid, hardened, and agreeing with compose.yaml, with the names and the Secrets."""

import base64
import ipaddress
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nats
import pytest
from ruamel.yaml import YAML

from lodestream.compose import kube
from lodestream.registry import node_types
from proto import subjects
from tests.support.servers import start_nats

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy/k8s"
VERSION = "1.37"
"""Of the Kubernetes API whose schemas are checked against."""
UNITS = {"m": 1 << 20, "g": 1 << 30, "Mi": 1 << 20, "Gi": 1 << 30}
COMPOSE = YAML(typ="safe").load(ROOT / "compose.yaml")["services"]

Manifest = dict[str, Any]


def manifests(*kinds: str) -> list[Manifest]:
    """Everything that a cluster is given, Helm's values aside; of some kinds only, where they are named."""
    files = [path for path in sorted(K8S.glob("*.yaml")) if path.name not in ("kustomization.yaml", "nats.values.yaml")]
    found = [document for path in files for document in YAML(typ="safe").load_all(path)]
    return [document for document in found if not kinds or document["kind"] in kinds]


def workloads() -> dict[str, Manifest]:
    """What runs containers, by name."""
    return {one["metadata"]["name"]: one for one in manifests("Deployment", "StatefulSet")}


def ours() -> dict[str, Manifest]:
    """Those that have a user on NATS: all but Triton."""
    return {name: workload for name, workload in workloads().items() if name != "triton"}


def pod(workload: Manifest) -> tuple[Manifest, Manifest]:
    """Its pod and its one container."""
    spec = workload["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


def size(text: str) -> int:
    """Bytes of 512m, 4g, 512Mi or 4Gi."""
    unit = text.lstrip("0123456789")
    return int(text.removesuffix(unit)) * UNITS[unit]


def test_kustomize_is_told_of_every_file() -> None:
    named = YAML(typ="safe").load(K8S / "kustomization.yaml")
    apart = {"kustomization.yaml", "nats.values.yaml", "keda.yaml"}
    assert set(named["resources"]) == {path.name for path in K8S.glob("*.yaml")} - apart
    assert {image["name"] for image in named["images"]} == {f"lodestream/{name}" for name in workloads()}


@pytest.mark.parametrize("manifest", manifests(), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_every_manifest_is_valid(manifest: Manifest) -> None:
    if manifest["kind"] == "ScaledObject":
        pytest.skip("KEDA's own kind: see the test of its triggers")
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate").validate
    validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize("name", ours())
def test_as_in_compose(name: str) -> None:
    spec, container = pod(workloads()[name])
    there = COMPOSE[name]
    assert container["image"] == there["image"]
    assert container.get("command") == there.get("command")
    security = spec["securityContext"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == there["user"]
    expected = dict(there["environment"])
    if "LODE_LOG_LEVEL" in expected:
        expected["LODE_LOG_LEVEL"] = "info"
    if "LODE_TRITON" in expected:
        expected["LODE_TRITON"] = "triton:8001"
    given = {one["name"]: one["value"] for one in container["env"]}
    assert {key: value for key, value in given.items() if key in expected} == expected
    assert set(given) - set(expected) <= {"LODE_LOG_LEVEL"}
    assert size(container["resources"]["limits"]["memory"]) == size(there["mem_limit"])


@pytest.mark.parametrize("name", workloads())
def test_hardened(name: str) -> None:
    spec, container = pod(workloads()[name])
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    wanted = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == wanted
    assert "readinessProbe" in container


def test_every_node_type_runs() -> None:
    assert set(workloads()) == {*node_types(), "house", "catalog", "triton"}


def test_triton_is_that_of_compose_and_of_nvidia_where_there_are_gpus() -> None:
    spec, container = pod(workloads()["triton"])
    there, by_gpu = COMPOSE["triton"], COMPOSE["triton-gpu"]
    assert container["image"] == there["image"]
    assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == there["user"]
    assert {one["name"]: one["value"] for one in container["env"]} == there["environment"]
    assert size(container["resources"]["limits"]["memory"]) == size(there["mem_limit"])
    flags = {flag for flag in container["args"] if not flag.startswith("--grpc")}
    assert (
        flags
        == {flag for flag in there["command"] if not flag.startswith("--grpc")}
        == {flag for flag in by_gpu["command"] if not flag.startswith("--grpc")}
    )
    assert " ".join(container["command"]) in " ".join(there["entrypoint"])
    kustomization = YAML(typ="safe").load(K8S / "gpu/kustomization.yaml")
    patch = {one["path"].rpartition("/")[2]: one for one in YAML(typ="safe").load(kustomization["patches"][0]["patch"])}
    assert patch["image"]["value"] == by_gpu["image"]
    assert " ".join(patch["command"]["value"]) in " ".join(by_gpu["entrypoint"])
    assert patch["nvidia.com~1gpu"]["value"] == 1


def test_only_those_who_look_at_frames_reach_triton_and_write_no_model() -> None:
    looking = {name for name, one in ours().items() if "lodestream/sight" in labels(one)}
    assert (
        looking
        == {name for name in ours() if "LODE_TRITON" in COMPOSE[name]["environment"]}
        == {
            "filter",
            "dedup",
            "detect",
        }
    )
    for name in (*looking, "triton"):
        spec, container = pod(workloads()[name])
        (mount,) = [one for one in container["volumeMounts"] if one["name"] == "models"]
        assert mount == {"name": "models", "mountPath": "/models", "readOnly": True}
        assert {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}} in spec["volumes"]
    policies = {one["metadata"]["name"]: one["spec"] for one in manifests("NetworkPolicy")}
    (rule,) = policies["triton"]["ingress"]
    assert rule["from"] == [{"podSelector": policies["sight"]["podSelector"]}]
    assert "egress" not in policies["triton"]


def labels(workload: Manifest) -> dict[str, str]:
    """Of its pods."""
    return dict(workload["spec"]["template"]["metadata"]["labels"])


def test_one_writer_of_the_catalog_and_one_house() -> None:
    assert workloads()["catalog"]["kind"] == "StatefulSet"
    assert [workloads()[name]["spec"]["replicas"] for name in ("catalog", "house")] == [1, 1]
    assert workloads()["house"]["spec"]["strategy"] == {"type": "Recreate"}


def test_every_pod_finds_its_own_secret_and_every_file_that_it_is_told_of() -> None:
    made = {one["metadata"]["name"]: set(one["data"]) for one in kube.secrets("minio.minio:9000")["items"]}
    for name, workload in ours().items():
        spec, container = pod(workload)
        (secret,) = [volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume]
        (mounted,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "secrets"]
        told = {Path(one["value"]) for one in container["env"] if one["name"].endswith("_FILE")}
        assert (secret, mounted) == (f"lode-{name}", f"/run/lode/{name}")
        assert {path.name for path in told if path.is_relative_to(mounted)} == {path.name for path in told}
        assert {path.name for path in told} <= made[secret]
    assert {"nats-operator", "objects", "objects-root"} <= made["lode-house"]


async def test_a_server_takes_the_accounts_and_knows_the_users(tmp_path: Path) -> None:
    made = {one["metadata"]["name"]: one["data"] for one in kube.secrets("minio.minio:9000")["items"]}
    (tmp_path / "accounts.conf").write_bytes(base64.b64decode(made["lode-nats"]["accounts.conf"]))
    with start_nats(tmp_path, "include ../accounts.conf") as server:
        password = base64.b64decode(made["lode-house"]["nats-operator"]).decode().strip()
        nc = await nats.connect(server.url, user="operator", password=password, inbox_prefix=b"_INBOX_operator")
        assert (await nc.jetstream().account_info()).streams == 0
        await nc.close()


def test_only_those_who_fetch_reach_the_web_and_nothing_that_is_not_public() -> None:
    reaching = {name for name, one in workloads().items() if "lodestream/web" in labels(one)}
    assert reaching == {"discover", "fetch", "records"}
    policies = {one["metadata"]["name"]: one["spec"] for one in manifests("NetworkPolicy")}
    assert policies["nothing-else"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (rule,) = policies["web"]["egress"]
    for address in ("10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.0.0.1", "0.0.0.0"):
        assert not any(within(address, one["ipBlock"]) for one in rule["to"])
    for address in ("fd00::1", "fe80::1", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"):
        assert not any(within(address, one["ipBlock"]) for one in rule["to"])
    for address in ("1.1.1.1", "93.184.215.14", "2606:4700::1111"):
        assert any(within(address, one["ipBlock"]) for one in rule["to"])


def within(address: str, block: dict[str, Any]) -> bool:
    """Whether a policy's block has an address."""
    one = ipaddress.ip_address(address)
    there = one in ipaddress.ip_network(block["cidr"])
    return there and not any(one in ipaddress.ip_network(net) for net in block.get("except", []))


def test_what_scales_asks_for_consumers_that_a_flow_has() -> None:
    for scaled in manifests("ScaledObject"):
        name, spec = scaled["metadata"]["name"], scaled["spec"]
        (trigger,) = spec["triggers"]
        asked = trigger["metadata"]
        expected = ("SEEDS", "cats") if name == "intake" else (subjects.stream("cats"), subjects.durable(name, 1))
        assert (asked["stream"], asked["consumer"], asked["account"]) == (*expected, "LODE")
        assert "replicas" not in workloads()[spec["scaleTargetRef"]["name"]]["spec"]


def test_each_type_has_a_budget() -> None:
    budgets = {
        one["metadata"]["name"]: one["spec"]["selector"]["matchLabels"] for one in manifests("PodDisruptionBudget")
    }
    assert budgets == {
        name: one["spec"]["selector"]["matchLabels"]
        for name, one in workloads().items()
        if name not in ("catalog", "house", "triton")
    }


def test_kustomize_renders_it() -> None:
    if not (program := shutil.which("kustomize")):
        pytest.skip("no program kustomize")
    rendered = subprocess.run(
        [program, "build", str(K8S)], capture_output=True, text=True, env=dict(os.environ), check=True
    )
    kinds = [document["kind"] for document in YAML(typ="safe").load_all(rendered.stdout)]
    assert sorted(kinds) == sorted(m["kind"] for m in manifests() if m["kind"] != "ScaledObject")
