"""The chart dynamo, for Tencent Kubernetes Engine: single and multinode."""

from __future__ import annotations

import os
import subprocess

import pytest
import yaml

from golden import canonical, compare
from helm import CHARTS, HelmError, Rendered, command, documents, render, sets
from validation import NEWEST, OLDEST, check
from wiring import check_wiring

CHART = CHARTS / "dynamo"
SINGLE = ("-f", str(CHART / "values.yaml"))
MULTI = ("-f", str(CHART / "multi-values.yaml"))
BOTH = (*MULTI, *sets("single.enable=true"))
RELEASE = "deepseek-r1-llama-70b"
NAME = f"{RELEASE}-dynamo"
MONITORED = sets(
    "single.metrics.enable=true", "single.metrics.serviceMonitor.enable=true",
    "multinode.metrics.enable=true", "multinode.metrics.serviceMonitor.enable=true",
)  # fmt: skip
EVERYTHING = (*MONITORED, *sets("podDisruptionBudget.enable=true", "networkPolicy.enable=true",
                                "podLabels.team=ai", "podAnnotations.note=x", "imagePullSecrets[0].name=s"))  # fmt: skip


def tke(*args: str, **options: str) -> Rendered:
    return render(CHART, *args, **{"release": RELEASE, "namespace": "default", **options})


def pod(release: Rendered, suffix: str) -> dict:
    return release.one("Deployment", f"{NAME}-{suffix}")["spec"]["template"]


@pytest.mark.parametrize("version", [3, 4])
def test_lint(version: int) -> None:
    done = command(version, "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("name", "args"), [("single", SINGLE), ("multinode", MULTI)])
def test_profiles(request: pytest.FixtureRequest, name: str, args: tuple[str, ...]) -> None:
    workloads = {"Deployment", "Service"}
    found = Rendered(tuple(each for each in tke(*args).objects if each["kind"] in workloads))
    compare(request, f"dynamo/{name}.yaml", canonical(found))


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
@pytest.mark.parametrize("profile", [SINGLE, MULTI, BOTH], ids=["single", "multinode", "both"])
@pytest.mark.parametrize("more", [(), EVERYTHING], ids=["plain", "everything"])
def test_objects_are_valid(profile: tuple[str, ...], more: tuple[str, ...], kubernetes: str) -> None:
    found = tke(*profile, *more, kubernetes=kubernetes)
    for each in found.objects:
        check(each, kubernetes)
    check_wiring(found, "default")
    names = [(each["kind"], each["metadata"]["name"]) for each in found.objects]
    assert len(names) == len(set(names)), "two objects have one name"


def test_the_commands_of_the_guide() -> None:
    """`helm install NAME . -f values.yaml`, in the folder of the chart."""
    from helm import TOOLS

    for file, more in (("values.yaml", []), ("multi-values.yaml", []), ("values.yaml", ["--set", "rdma.enable=false"])):
        line = [TOOLS / "helm4", "template", RELEASE, ".", "-f", file, *more]
        done = subprocess.run(line, cwd=CHART, capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": "/tmp"})
        assert done.returncode == 0, done.stderr
        assert documents(done.stdout)


def test_selectors_survive_upgrades() -> None:
    for service in tke(*BOTH, *EVERYTHING).all("Service"):
        selector = service["spec"]["selector"]
        assert not {"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "team"} & set(selector)


def test_prefill_has_resources_of_its_own() -> None:
    args = sets("multinode.prefill.resources.limits.cpu=7", "multinode.prefill.labels.tier=p")
    found = tke(*MULTI, *args)
    (prefill,) = pod(found, "multinode-prefill")["spec"]["containers"]
    assert prefill["name"] == "multinode-prefill"
    assert prefill["resources"]["limits"]["cpu"] == 7 and "ports" not in prefill
    assert "cpu" not in pod(found, "multinode-frontend")["spec"]["containers"][0]["resources"]["limits"]
    assert pod(found, "multinode-prefill")["metadata"]["labels"]["tier"] == "p"
    assert "tier" not in pod(found, "multinode-frontend")["metadata"]["labels"]


def test_gpus_of_the_guide() -> None:
    found = tke(*MULTI)
    gpus = 0
    for suffix in ("multinode-frontend", "multinode-prefill"):
        deployment = found.one("Deployment", f"{NAME}-{suffix}")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        gpus += deployment["spec"]["replicas"] * container["resources"]["limits"]["nvidia.com/gpu"]
    assert gpus == 24
    configs = yaml.safe_load(found.one("ConfigMap", f"{NAME}-configs")["data"]["configs.yaml"])
    prefill = yaml.safe_load(found.one("ConfigMap", f"{NAME}-prefill-configs")["data"]["configs.yaml"])
    assert configs["VllmWorker"]["tensor-parallel-size"] == configs["VllmWorker"]["ServiceArgs"]["resources"]["gpu"]
    assert prefill["PrefillWorker"]["ServiceArgs"] == {"workers": 8, "resources": {"gpu": 1}}


def test_multinode_alone_says_what_it_needs() -> None:
    with pytest.raises(HelmError, match="multinode.enable needs the configuration of the prefill pods"):
        tke(*sets("multinode.enable=true"))
    with pytest.raises(HelmError, match="one of them has to be true"):
        tke(*sets("single.enable=false"))


def test_the_port_has_one_home() -> None:
    configs = yaml.safe_dump({"Frontend": {"port": 9009}})
    found = tke("--set-string", "configs=" + configs.replace(",", "\\,"))
    (container,) = pod(found, "single")["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [9009]
    assert found.one("Service", f"{NAME}-single")["spec"]["ports"][0] == {
        "name": "serve", "port": 80, "targetPort": "serve",
    }  # fmt: skip
    with pytest.raises(HelmError, match="configs: not YAML"):
        tke("--set-string", "configs=a: b: c")


@pytest.mark.parametrize("mode", ["tke-route-eni", "tke-bridge"])
def test_rdma(mode: str) -> None:
    found = pod(tke(*sets(f"rdma.networkMode={mode}")), "single")
    assert found["metadata"]["annotations"]["tke.cloud.tencent.com/networks"] == f"{mode},tke-rdma-ipvlan"
    (container,) = found["spec"]["containers"]
    assert container["securityContext"]["capabilities"] == {"add": ["IPC_LOCK"]}
    assert "privileged" not in container["securityContext"]
    for side in ("requests", "limits"):
        assert container["resources"][side]["tke.cloud.tencent.com/tke-shared-rdma"] == 1
    assert found["spec"]["hostNetwork"] is True and found["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"


def test_without_rdma_nothing_of_it_is_left() -> None:
    found = tke(*MULTI, *sets("rdma.enable=false"))
    text = canonical(found)
    assert "rdma" not in text and "hostNetwork" not in text and "IPC_LOCK" not in text
    for name in ("rdma.hostNetwork", "hostNetwork"):
        assert "hostNetwork" not in canonical(tke(*sets(f"{name}=false")))


@pytest.mark.parametrize("release", ["my-etcd-dynamo", "nats", "x"])
def test_servers_are_called_what_pods_are_told(release: str) -> None:
    found = tke(release=release)
    services = {each["metadata"]["name"] for each in found.all("Service")}
    deployment = next(each for each in found.all("Deployment"))
    env = {e["name"]: e["value"] for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["ETCD_ENDPOINTS"].partition(":")[0] in services
    assert env["NATS_SERVER"].removeprefix("nats://").partition(":")[0] in services


def test_servers_elsewhere() -> None:
    args = sets("etcd.enable=false", "nats.enable=false")
    with pytest.raises(HelmError, match="etcd.enable is false|nats.enable is false"):
        tke(*args)
    found = tke(*args, *sets("etcdEndpointsOverride=e:2379", "natsServerOverride=nats://n:4222"))
    assert not found.all("StatefulSet")


def test_both_modes_can_be_monitored() -> None:
    found = tke(*BOTH, *MONITORED).all("ServiceMonitor")
    assert sorted(each["metadata"]["name"] for each in found) == [f"{NAME}-multinode", f"{NAME}-single"]
    assert {each["metadata"]["namespace"] for each in found} == {"kube-system"}
    assert not tke(*BOTH, *sets("single.metrics.serviceMonitor.enable=true")).all("ServiceMonitor")


def test_shared_memory_is_limited() -> None:
    volumes = pod(tke(), "single")["spec"]["volumes"]
    assert {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "15Gi"}} in volumes


@pytest.mark.parametrize(
    ("assignment", "named"),
    [("rdma.networkMode=tke", "networkMode"), ("etcd.enabled=false", "enabled"), ("single.resource.limits.cpu=1", "resource")],
)
def test_a_typing_error_is_refused_by_name(assignment: str, named: str) -> None:
    with pytest.raises(HelmError, match=named):
        tke(*sets(assignment))
