"""The chart dynamo-platform: operator, etcd and NATS, each here, elsewhere or not at all."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster import NATS, Service, eventually, free_port
from golden import canonical, compare
from helm import CHARTS, ROOT, HelmError, Rendered, command, documents, render, sets
from raw_http import request as http
from validation import NEWEST, OLDEST, check
from wiring import check_wiring

CHART = CHARTS / "dynamo-platform"
EVERYTHING = sets("networkPolicy.enabled=true", "serviceMonitor.enabled=true", "etcd.replicaCount=3",
                  "dynamo-operator.controllerManager.replicas=2")  # fmt: skip


def platform(*args: str, **options: str) -> Rendered:
    return render(CHART, *args, release=options.pop("release", "dynamo-platform"), **options)


def operator_args(release: Rendered) -> list[str]:
    (deployment,) = release.all("Deployment")
    return deployment["spec"]["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("version", [3, 4])
def test_lint(version: int) -> None:
    done = command(version, "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout


def test_the_whole_of_the_default(request: pytest.FixtureRequest) -> None:
    compare(request, "dynamo-platform/default.yaml", canonical(platform()))


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
@pytest.mark.parametrize("args", [(), EVERYTHING, sets("discovery.backend=kubernetes")])
def test_objects_are_valid(args: tuple[str, ...], kubernetes: str) -> None:
    found = platform(*args, kubernetes=kubernetes)
    for each in found.objects:
        check(each, kubernetes)
    check_wiring(found, "dynamo-system")


def test_names_are_those_of_the_guides() -> None:
    found = platform()
    assert {each["metadata"]["name"] for each in found.all("StatefulSet")} == {
        "dynamo-platform-etcd",
        "dynamo-platform-nats",
    }
    deployment = found.one("Deployment", "dynamo-platform-dynamo-operator-controller-manager")
    assert deployment["metadata"]["labels"]["app.kubernetes.io/instance"] == "dynamo-platform"
    assert deployment["metadata"]["labels"]["control-plane"] == "controller-manager"
    ports = found.one("Service", "dynamo-platform-etcd")["spec"]["ports"]
    assert [port["port"] for port in ports] == [2379]
    assert found.one("Service", "dynamo-platform-nats")["spec"]["ports"][0]["port"] == 4222


def test_the_servers_are_where_graphs_look_for_them() -> None:
    from helm import GRAPH_CHART, container, environment

    graph = environment(container(render(GRAPH_CHART).services["Frontend"]))
    args = operator_args(platform())
    assert f"--etcd-endpoints={graph['ETCD_ENDPOINTS']}" in args
    assert graph["NATS_SERVER"] == "nats://dynamo-platform-nats.dynamo-system:4222"
    assert "--nats-server=nats://dynamo-platform-nats.dynamo-system.svc.cluster.local:4222" in args


@pytest.mark.parametrize("release", ["my-etcd", "nats-and-etcd", "x"])
def test_names_keep_their_suffix(release: str) -> None:
    """Whatever a release is called, the operator is told the names of its Services."""
    found = platform(release=release)
    services = {each["metadata"]["name"] for each in found.all("Service")}
    told = re.findall(r"(?:endpoints=|nats://)([a-z-]+)\.", " ".join(operator_args(found)))
    assert told == [f"{release}-etcd", f"{release}-nats"] and set(told) <= services


def test_one_switch_does_without_servers() -> None:
    found = platform(*sets("discovery.backend=kubernetes"))
    assert not found.all("StatefulSet") and not found.all("Service")
    args = operator_args(found)
    assert "--discovery-backend=kubernetes" in args
    assert not [arg for arg in args if "etcd" in arg or "nats" in arg]


def test_servers_elsewhere() -> None:
    outside = sets("etcd.enabled=false", "nats.enabled=false")
    with pytest.raises(HelmError, match="etcd.enabled is false: say where etcd is"):
        platform(*outside)
    given = sets("dynamo-operator.etcdAddr=etcd.infra:2379", "dynamo-operator.natsAddr=nats://nats.infra:4222")
    found = platform(*outside, *given)
    assert not found.all("StatefulSet")
    assert {"--etcd-endpoints=etcd.infra:2379", "--nats-server=nats://nats.infra:4222"} <= set(
        operator_args(found)
    )
    without_operator = platform(*sets("dynamo-operator.enabled=false"))
    assert {each["kind"] for each in without_operator.objects} == {"StatefulSet", "Service", "ConfigMap"}


def test_rights_are_few() -> None:
    def rules(release: Rendered) -> list[dict]:
        return [rule for kind in ("ClusterRole", "Role") for role in release.all(kind) for rule in role["rules"]]

    for rule in rules(platform()):
        assert "*" not in str(rule)
        assert "secrets" not in rule["resources"] and "nodes" not in rule["resources"]
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])
    restricted = platform(*sets("dynamo-operator.namespaceRestriction.enabled=true"))
    assert not restricted.all("ClusterRole") and not restricted.all("ClusterRoleBinding")
    assert "--namespace=dynamo-system" in operator_args(restricted)
    other = sets("dynamo-operator.namespaceRestriction.enabled=true",
                 "dynamo-operator.namespaceRestriction.targetNamespace=models")  # fmt: skip
    found = platform(*other)
    assert found.one("Role", "dynamo-platform-dynamo-operator")["metadata"]["namespace"] == "models"
    binding = found.one("RoleBinding", "dynamo-platform-dynamo-operator")
    assert binding["metadata"]["namespace"] == "models"
    assert binding["subjects"][0]["namespace"] == "dynamo-system"


def test_rights_are_those_of_the_operators_documentation() -> None:
    guide = ROOT / "docs/operator.md"
    if not guide.exists():
        pytest.skip("the operator is not documented yet")
    (block,) = [text for text in re.findall(r"^```yaml\n(.*?)^```", guide.read_text(), re.DOTALL | re.MULTILINE)
                if text.startswith("rules:")]  # fmt: skip

    def each(rules: list[dict]) -> set[tuple[str, str, str]]:
        return {
            (group, resource, verb)
            for rule in rules
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    found = platform()
    given = found.one("ClusterRole")["rules"] + found.one("Role")["rules"]
    assert each(given) == each(yaml.safe_load(block)["rules"])


def test_a_single_member_can_be_evicted() -> None:
    assert not platform().all("PodDisruptionBudget")
    three = platform(*sets("etcd.replicaCount=3")).one("PodDisruptionBudget")
    assert three["spec"]["maxUnavailable"] == 1


def test_renders_are_the_same_each_time() -> None:
    """No random keys: a tool that renders again and again restarts nothing."""
    once = command(4, "template", "p", CHART).stdout
    assert once and once == command(4, "template", "p", CHART).stdout


def test_volumes_go_with_the_release() -> None:
    for each in platform().all("StatefulSet"):
        assert each["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    old = platform(kubernetes=OLDEST)
    assert "persistentVolumeClaimRetentionPolicy" not in str(old.objects)
    without = platform(*sets("etcd.persistence.enabled=false", "nats.config.jetstream.fileStore.pvc.enabled=false"))
    assert "volumeClaimTemplates" not in str(without.objects)


def test_nobody_is_root() -> None:
    found = platform(*EVERYTHING)
    for kind in ("Deployment", "StatefulSet"):
        for each in found.all(kind):
            spec = each["spec"]["template"]["spec"]
            assert spec["securityContext"]["runAsNonRoot"] is True
            for container in spec["containers"]:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
                assert {"livenessProbe", "readinessProbe"} <= set(container)


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("etcd.replicaCount=2", "replicaCount"),
        ("etcd.enable=false", "enable"),
        ("nats.config.jetstream.fileStore.pvc.size=10GB", "size"),
        ("dynamo-operator.webhook.enabled=true", "webhook"),
        ("discovery.backend=nats", "backend"),
    ],
)
def test_a_typing_error_is_refused_by_name(assignment: str, named: str) -> None:
    with pytest.raises(HelmError, match=named):
        platform(*sets(assignment))


def test_a_real_nats_server_takes_the_configuration(tmp_path: Path) -> None:
    found = platform().one("ConfigMap", "dynamo-platform-nats-config")["data"]["nats.conf"]
    assert NATS, "nats-server is missing: make servers"
    file = tmp_path / "nats.conf"
    file.write_text(found)
    done = subprocess.run([NATS, "-t", "-c", file], capture_output=True, text=True, env={"POD_NAME": "nats-0"})
    assert done.returncode == 0, done.stderr
    assert "max_file_store: 10GB" in found and "store_dir: /data" in found


def test_a_real_etcd_takes_the_arguments(tmp_path: Path) -> None:
    found = platform().one("StatefulSet", "dynamo-platform-etcd")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    client, peer, metrics = free_port(), free_port(), free_port()
    args = []
    for arg in container["args"]:
        arg = arg.replace("$(POD_NAME)", "dynamo-platform-etcd-0").replace("/data", str(tmp_path / "data"))
        arg = re.sub(r"http://[^:,]+", "http://127.0.0.1", arg)
        for pattern, port in ((":2379", client), (":2380", peer), (":2381", metrics)):
            arg = arg.replace(pattern, f":{port}")
        args.append(arg)
    etcd = shutil.which("etcd")
    assert etcd, "etcd is missing: make servers"
    server = Service([etcd, *args], metrics, tmp_path / "data", tmp_path / "log")
    try:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container[probe]["httpGet"]["path"]
            eventually(lambda path=path: http(metrics, "GET", path).status == 200)
    finally:
        server.kill()


def test_the_definitions_are_a_chart_of_their_own() -> None:
    chart = yaml.safe_load((CHARTS / "dynamo-crds/Chart.yaml").read_text())
    assert chart["name"] == "dynamo-crds"
    files = sorted((CHARTS / "dynamo-crds").glob("templates/*.yaml"))
    for file in files:
        for crd in documents(file.read_text()):
            assert crd["kind"] == "CustomResourceDefinition", file.name
            check(crd)
