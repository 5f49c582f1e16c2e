"""The chart semantic-router, and the values with which the guides install it."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from golden import canonical, compare
from helm import CHARTS, ROOT, SEEDS, HelmError, Rendered, command, environment, render, sets
from validation import NEWEST, OLDEST, check
from wiring import check_wiring

CHART = CHARTS / "semantic-router"
NAMESPACE = "vllm-semantic-router-system"
SHARED = ROOT.parent / "shared/reference/configs"
DYNAMO_VALUES = SEEDS / "semantic-router-values/values.yaml"
EVERYTHING = sets(
    "autoscaling.enabled=true", "ingress.enabled=true", "ingress.className=nginx",
    "ingress.hosts[0].host=router.example.com", "ingress.hosts[0].paths[0].path=/api",
    "podDisruptionBudget.enabled=true", "networkPolicy.enabled=true",
    "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
    "serviceMonitor.enabled=true", "serviceMonitor.namespace=monitoring", "headlessService.enabled=true",
    "endpointPicker.enabled=true", "endpointPicker.discovery.backend=kubernetes",
    "persistence.enabled=true", "persistence.accessMode=ReadWriteMany",
)  # fmt: skip


def router(*args: str, **options: str) -> Rendered:
    options.setdefault("release", "semantic-router")
    return render(CHART, *args, namespace=NAMESPACE, **options)


def main(release: Rendered) -> dict:
    return release.one("Deployment")["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("version", [3, 4])
def test_lint(version: int) -> None:
    done = command(version, "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout


def test_the_default(request: pytest.FixtureRequest) -> None:
    found = copy.deepcopy(router())
    del found.one("ConfigMap")["data"]["config.yaml"]
    compare(request, "semantic-router/default.yaml", canonical(found))


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
@pytest.mark.parametrize("args", [("-f", str(DYNAMO_VALUES)), EVERYTHING], ids=["dynamo", "everything"])
def test_objects_are_valid(args: tuple[str, ...], kubernetes: str) -> None:
    found = router(*args, kubernetes=kubernetes)
    for each in found.objects:
        check(each, kubernetes)
    check_wiring(found, NAMESPACE)


def test_names_and_ports_are_those_of_the_guides() -> None:
    found = router("-f", str(DYNAMO_VALUES))
    assert found.one("Deployment")["metadata"]["name"] == "semantic-router"
    assert found.one("ServiceAccount")["metadata"]["name"] == "semantic-router"
    service = found.one("Service", "semantic-router")
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == {
        "grpc": 50051,
        "classify-api": 8080,
        "metrics": 9190,
    }


def test_a_port_has_one_home() -> None:
    found = router(*sets("service.grpc.port=9002", "service.api.enabled=false"))
    args = main(found)["args"]
    assert "--port=9002" in args and "--api-port=-1" in args
    assert [port["port"] for port in found.one("Service")["spec"]["ports"]] == [9002, 9190]
    assert main(found)["readinessProbe"]["grpc"] == {"port": 9002, "service": "readiness"}


def configuration(*args: str) -> str:
    return router(*args).one("ConfigMap")["data"]["config.yaml"]


def checked(binary: Path, text: str, folder: Path) -> None:
    file = folder / "config.yaml"
    file.write_text(text)
    env = {"TANDEM_MODEL": "m", "PATH": "/usr/bin"}
    done = subprocess.run([binary, "config", "check", file], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_router_takes_the_values_of_the_guide(binary: Path, tmp_path: Path) -> None:
    text = configuration("-f", str(DYNAMO_VALUES))
    checked(binary, text, tmp_path)
    config = yaml.safe_load(text)
    assert len(config["categories"]) == 14 and len(config["decisions"]) == 15
    models = {ref["model"] for decision in config["decisions"] for ref in decision["modelRefs"]}
    assert models == {config["default_model"]} == set(config["model_config"])


def test_the_router_takes_the_default(binary: Path, tmp_path: Path) -> None:
    checked(binary, configuration(), tmp_path)
    ours = (CHART / "files/default.yaml").read_text()
    assert ours == (ROOT / "config/default.yaml").read_text(), "files/default.yaml is a copy"
    assert environment(main(router(*sets("defaultModel=m"))))["TANDEM_MODEL"] == "m"


@pytest.mark.parametrize("name", ["dynamo-values-flat.yaml", "dynamo-values-v03.yaml"])
def test_values_that_people_have_install_unchanged(name: str, binary: Path, tmp_path: Path) -> None:
    if not (SHARED / name).exists():
        pytest.skip("the original's values are not on this machine")
    checked(binary, configuration("-f", str(SHARED / name)), tmp_path)


def test_tools() -> None:
    tools = [{"tool": {"type": "function", "function": {"name": "f"}}, "description": "d"}]
    found = router("--set-json", f"toolsDb={json.dumps(tools)}").one("ConfigMap")
    assert json.loads(found["data"]["tools_db.json"]) == tools


def test_a_change_of_the_configuration_restarts_nothing() -> None:
    """The router reads its file again; a checksum in the pod would throw its cache away."""
    before = router()
    after = router("-f", str(DYNAMO_VALUES))
    assert before.one("ConfigMap")["data"] != after.one("ConfigMap")["data"]
    assert before.one("Deployment") == after.one("Deployment")
    assert "subPath" not in str(after.one("Deployment")), "files of a subPath are never updated"


def test_replicas() -> None:
    assert router(*sets("replicaCount=3")).one("Deployment")["spec"]["replicas"] == 3
    assert "replicas" not in router(*EVERYTHING).one("Deployment")["spec"]
    with pytest.raises(HelmError, match="cannot share a ReadWriteOnce volume"):
        router(*sets("replicaCount=2", "persistence.enabled=true"))


def test_images() -> None:
    assert main(router())["image"] == "tandem:0.1.0"
    args = sets("global.imageRegistry=r.example.com", "image.repository=a/b", "image.tag=v2")
    assert main(router(*args))["image"] == "r.example.com/a/b:v2"
    digest = f"sha256:{'b' * 64}"
    assert main(router(*args, *sets(f"image.digest={digest}")))["image"] == f"r.example.com/a/b@{digest}"


def test_the_endpoint_picker_finds_workers() -> None:
    args = main(router(*sets("endpointPicker.enabled=true")))["args"]
    assert "--epp" in args and "--namespace=dynamo-vllm" in args
    assert [arg for arg in args if arg.startswith("--etcd-endpoints=dynamo-platform-etcd.dynamo-system")]
    found = router(*sets("endpointPicker.enabled=true", "endpointPicker.discovery.backend=kubernetes"))
    assert "--discovery-backend=kubernetes" in main(found)["args"]
    labels = found.one("Service")["metadata"]["labels"]
    assert labels["nvidia.com/dynamo-discovery-enabled"] == "true"
    assert labels["nvidia.com/dynamo-discovery-backend"] == "kubernetes"
    assert found.one("RoleBinding")["subjects"][0]["name"] == "semantic-router"
    assert found.one("Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
    assert not router().all("Role"), "a router that picks no endpoints asks the API server nothing"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (sets("replicaCounts=2"), "replicaCounts"),
        (sets("service.grpc.prt=1"), "prt"),
        (sets("image.tags=x"), "tags"),
        (sets("ingress.enabled=true", "service.api.enabled=false"), "is that of the classification API"),
        (sets("serviceMonitor.enabled=true", "service.metrics.enabled=false"), "there are no metrics"),
    ],
)
def test_what_cannot_work_is_refused(args: tuple[str, ...], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        router(*args)
