"""Releases in a cluster: the guides' own commands by real Helm, against an API server that keeps objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from object_server import ObjectServer
from helm import command, container, flag
from seeds import CHART, OPTIONS, UPGRADE, UPGRADES, words

Run = Callable[[str], str]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ObjectServer]:
    with ObjectServer(tmp_path) as opened:
        yield opened


@pytest.fixture(params=[3, 4], ids=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, server: ObjectServer) -> Run:
    """Runs a command that begins with `helm`; fails the test where it fails."""

    def run(line: str) -> str:
        _, *args = words(line)
        done = command(request.param, *args, environment={"KUBECONFIG": str(server.kubeconfig)})
        assert done.returncode == 0, f"$ {line}\n{done.stderr}"
        return done.stdout

    return run


def graph(server: ObjectServer) -> dict[str, tuple[int, str | None, str | None]]:
    """Replicas, role and model of each service that is deployed."""
    services = server.one("DynamoGraphDeployment")["spec"]["services"]
    return {
        name: (each["replicas"], each.get("subComponentType"), flag(container(each), "--model"))
        for name, each in services.items()
    }


def test_install_upgrade_and_uninstall(helm: Run, server: ObjectServer) -> None:
    tiny = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
    notes = helm(CHART)
    assert "svc/dynamo-vllm-frontend 8000:8000" in notes
    assert f"prefillworker0: {tiny}, prefill, vllm, GPU 1, 1 replica(s)" in notes
    assert graph(server) == {
        "Frontend": (1, None, None),
        "Prefillworker0": (1, "prefill", tiny),
        "Decodeworker1": (1, "decode", tiny),
    }
    helm(UPGRADES["replicas"])
    assert graph(server) == {
        "Frontend": (1, None, None),
        "Prefillworker0": (2, "prefill", tiny),
        "Decodeworker1": (2, "decode", tiny),
    }
    helm(UPGRADES["model"])
    assert graph(server) == {
        "Frontend": (1, None, None),
        "Prefillworker0": (2, "prefill", "new-model-name"),
        "Decodeworker1": (2, "decode", "new-model-name"),
    }
    helm("helm uninstall dynamo-vllm -n dynamo-system")
    assert server.objects == {}


def test_an_upgrade_goes_on_with_what_was_installed_by_options(helm: Run, server: ObjectServer) -> None:
    helm(OPTIONS["production-tensor-parallel"])
    helm(f"{UPGRADE} --set workers[0].replicas=3")
    (name,) = [name for name in graph(server) if name != "Frontend"]
    worker = server.one("DynamoGraphDeployment")["spec"]["services"][name]
    assert worker["replicas"] == 3 and worker["resources"]["limits"]["gpu"] == "2"
    assert flag(container(worker), "--model") == "meta-llama/Llama-3-70b-Instruct"
    assert "hf-secret" in str(worker)


def test_an_entry_that_says_who_it_is_stands_for_itself(helm: Run, server: ObjectServer) -> None:
    helm(f"{OPTIONS['c-prefill-decode']} --set workers[0].replicas=4 --set workers[1].model.maxModelLen=64")
    helm(
        f"{UPGRADE} --set workers[0].workerType=prefill --set workers[0].model.path=a"
        " --set workers[1].workerType=decode --set workers[1].model.path=a"
    )
    assert graph(server)["Prefillworker0"] == (1, "prefill", "a")
    assert "--max-model-len" not in str(server.one("DynamoGraphDeployment"))


def test_continuing_can_be_switched_off(helm: Run, server: ObjectServer) -> None:
    helm(OPTIONS["c-prefill-decode"])
    helm(f"{UPGRADE} --set continueWorkers=false --set workers[0].model.path=a")
    assert graph(server) == {"Frontend": (1, None, None), "Worker0": (1, None, "a")}


def test_workers_by_name_are_merged_by_helm(helm: Run, server: ObjectServer) -> None:
    helm(f"{CHART} --set workers.p.workerType=prefill --set workers.d.workerType=decode")
    helm(f"{UPGRADE} --set workers.d.replicas=5")
    assert {name: each[:2] for name, each in graph(server).items()} == {
        "Frontend": (1, None),
        "P": (1, "prefill"),
        "D": (5, "decode"),
    }


RELEASES = {
    "dynamo-crds": ("./deploy/helm/dynamo-crds", "dynamo-system", ""),
    "dynamo-platform": (
        "./deploy/helm/dynamo-platform",
        "dynamo-system",
        "--set serviceMonitor.enabled=true --set networkPolicy.enabled=true --set etcd.replicaCount=3",
    ),
    "semantic-router": (
        "./deploy/helm/semantic-router",
        "vllm-semantic-router-system",
        "-f ./deploy/kubernetes/dynamo/semantic-router-values/values.yaml --set autoscaling.enabled=true",
    ),
    "dynamo-vllm": ("./deploy/kubernetes/dynamo/helm-chart", "dynamo-system", "--set discovery.backend=kubernetes"),
    "gateway": ("./deploy/helm/semantic-router-gateway", "default", ""),
    "deepseek-r1-llama-70b": ("./deploy/helm/dynamo", "default", "-f ./deploy/helm/dynamo/multi-values.yaml"),
}


def test_all_charts_live_side_by_side_and_leave_nothing(helm: Run, server: ObjectServer) -> None:
    for name, (chart, namespace, more) in RELEASES.items():
        helm(f"helm install {name} {chart} -n {namespace} {more}")
    assert len(server.kinds()) > 40
    for name, (chart, namespace, _) in RELEASES.items():
        before = server.kinds()
        helm(f"helm upgrade {name} {chart} -n {namespace} --reuse-values")
        assert server.kinds() == before, f"an upgrade of {name} without a change changes what there is"
    for name, (_, namespace, _) in reversed(RELEASES.items()):
        helm(f"helm uninstall {name} -n {namespace}")
    assert server.objects == {}
