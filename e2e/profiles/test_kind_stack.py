"""The profile `dynamo` with stand-ins for the programs that make a cluster: what it would run, in which order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import kind_stack
from helm import GRAPH_CHART, render
from kind_stack import KindStack, SetupError, Shell, workers
from validation import check
from wiring import check_wiring

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $*" in
  "docker info"*) echo "$RUNTIME" ;;
  "nvidia-smi --list-gpus") for i in $(seq "$GPUS"); do echo "GPU $i"; done ;;
  "nvidia-smi"*) echo 550.1 ;;
  "kind get clusters") echo "$CLUSTERS" ;;
  "kubectl get svc"*) echo service/envoy ;;
  "tar"*) ;;
  *) cat > /dev/null < /dev/null ;;
esac
"""
PROGRAMS = ("docker", "nvidia-smi", "kind", "kubectl", "helm", "tar", "sudo")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine on which every program of the set-up only notes how it was called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    calls = tmp_path / "calls"
    calls.touch()
    monkeypatch.setattr(kind_stack, "TOOLS", programs)
    monkeypatch.setattr(Shell, "start", lambda self, *words: pytest.fail(f"started {words}"))
    for name, value in {"CALLS": str(calls), "RUNTIME": "nvidia", "GPUS": "3", "CLUSTERS": ""}.items():
        monkeypatch.setenv(name, value)
    return calls


def opened(monkeypatch: pytest.MonkeyPatch) -> KindStack:
    monkeypatch.setattr(KindStack, "_forward", lambda self, target, namespace, port: port)
    return KindStack(verbose=False)


def test_the_runtime_of_docker_is_checked_first(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME", "runc")
    with pytest.raises(SetupError) as caught:
        opened(monkeypatch)
    assert "nvidia-ctk runtime configure --runtime=docker --set-as-default" in str(caught.value)
    assert "systemctl restart docker" in str(caught.value) and "'runc'" in str(caught.value)
    assert machine.read_text().splitlines() == ["docker info --format {{.DefaultRuntime}}"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("GPUS", "2", "needs 3 GPUs, and this machine has 2"), ("CLUSTERS", kind_stack.CLUSTER, "kind delete cluster")],
)
def test_a_machine_that_cannot_run_it_is_told_so(
    machine: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SetupError, match=said):
        opened(monkeypatch)
    assert "kind create" not in machine.read_text()


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(verbose=False)
    with pytest.raises(SetupError, match="no-such-program is not installed"):
        shell.run("no-such-program")


def test_the_steps_are_those_of_the_guide(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = opened(monkeypatch)
    stack.stop()
    lines = machine.read_text().splitlines()
    order = (
        "docker build -f deploy/docker/Dockerfile --target tandem -t",
        "kind create cluster --name semantic-router-dynamo --config",
        "kind load docker-image tandem:0.1.0 tandem-vllm:0.1.0",
        "docker exec semantic-router-dynamo-worker mkdir -p /nvidia-driver-libs",
        "kubectl apply -f",
        "helm install dynamo-crds",
        "helm install dynamo-platform",
        "helm install envoy-gateway",
        "helm install semantic-router",
        "kubectl apply -f ./deploy/kubernetes/dynamo/dynamo-resources/rbac.yaml",
        "helm install dynamo-vllm",
        "kubectl wait --for=condition=Ready dynamographdeployment/dynamo-vllm",
        "kubectl apply -f ./deploy/kubernetes/dynamo/dynamo-resources/gwapi-resources.yaml",
        "kind delete cluster",
    )
    at = 0
    for step in order:
        found = [i for i, line in enumerate(lines) if i >= at and line.startswith(step)]
        assert found, f"{step}\n" + "\n".join(lines)
        at = found[0] + 1
    assert not [line for line in lines if line.startswith("sudo")], "the set-up needs no root"
    assert not list(Path(os.getcwd()).glob("kind-gpu-config.yaml"))


def test_its_workers_are_what_the_chart_takes() -> None:
    values = "./deploy/kubernetes/dynamo/helm-chart/examples/values-kind-gpu.yaml"
    found = render(GRAPH_CHART, "-f", values, "--set-json", f"workers={workers()}")
    for each in found.objects:
        check(each)
    check_wiring(found, "dynamo-system")
    services = found.services
    gpus = sum(int(each["resources"]["limits"].get("gpu", 0)) * each["replicas"] for each in services.values())
    assert gpus == kind_stack.GPUS and "Decodeworker" in services
