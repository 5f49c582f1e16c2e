"""What the charts run is what the binary takes: every argument is parsed by the binary itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from helm import CHARTS, GRAPH_CHART, SEEDS, container, documents, render, sets
from seeds import OPTIONS, arguments

EXAMPLES = ("values-cpu.yaml", "values-kubernetes-discovery.yaml", "values-multi-node.yaml")
GRAPHS = {
    **{name: arguments(name) for name in OPTIONS},
    **{name: ("-f", f"{GRAPH_CHART}/examples/{name}") for name in EXAMPLES},
    "picked": sets("workerHttp.enabled=true", "frontend.routerMode=least-loaded"),
}
PODS = {
    "operator": (CHARTS / "dynamo-platform", ()),
    "operator-restricted": (
        CHARTS / "dynamo-platform",
        sets(
            "discovery.backend=kubernetes",
            "dynamo-operator.namespaceRestriction.enabled=true",
            "dynamo-operator.dynamo.metrics.prometheusEndpoint=http://p:9090",
            "dynamo-operator.dynamo.imagePullSecrets[0]=s",
        ),
    ),
    "router": (CHARTS / "semantic-router", sets("service.api.enabled=false")),
    "router-epp": (CHARTS / "semantic-router", sets("endpointPicker.enabled=true")),
    "router-epp-kubernetes": (
        CHARTS / "semantic-router",
        sets("endpointPicker.enabled=true", "endpointPicker.discovery.backend=kubernetes"),
    ),
}


def helps(binary: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """`--help` at the end: what comes before has to be right, and nothing is run."""
    return subprocess.run(
        [binary, *args, "--help"], capture_output=True, text=True, env={"PATH": "/usr/bin"}
    )


def parsed(binary: Path, args: list[str]) -> None:
    done = helps(binary, *args)
    assert done.returncode == 0, f"tandem {' '.join(args)}\n{done.stderr}"


def missing(binary: Path, args: list[str]) -> str | None:
    """A part of tandem that this binary was built without."""
    role = args[0]
    if f"\n  {role} " not in helps(binary).stdout:
        return f"tandem {role}"
    text = helps(binary, role).stdout
    for flag, value in (("--engine", "vllm"), ("--discovery-backend", "kubernetes")):
        given = f"{flag}={value}" in args or (flag in args and args[args.index(flag) + 1] == value)
        if given and value not in text:
            return f"tandem {role} {flag} {value}"
    return None


def check(binary: Path, args: list[str]) -> None:
    if part := missing(binary, args):
        pytest.skip(f"this binary has no {part}")
    parsed(binary, args)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("role", ["frontend", "worker"])
def test_graphs(binary: Path, name: str, role: str) -> None:
    services = render(GRAPH_CHART, *GRAPHS[name]).services.values()
    found = [container(each)["args"] for each in services if each["componentType"] == role]
    assert found
    for args in found:
        check(binary, args)


@pytest.mark.parametrize("role", ["frontend", "worker"])
def test_the_graph_without_helm(binary: Path, role: str) -> None:
    (graph,) = documents((SEEDS / "dynamo-resources/dynamo-graph-deployment.yaml").read_text())
    for service in graph["spec"]["services"].values():
        if service["componentType"] == role:
            check(binary, container(service)["args"])


@pytest.mark.parametrize("name", PODS)
def test_pods(binary: Path, name: str) -> None:
    chart, args = PODS[name]
    deployment = render(chart, *args, release="r").one("Deployment")
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    assert found["command"] == ["tandem"]
    check(binary, found["args"])


def test_a_wrong_argument_would_be_noticed(binary: Path) -> None:
    with pytest.raises(AssertionError, match="--router-moed"):
        parsed(binary, ["frontend", "--router-moed", "kv"])
    with pytest.raises(AssertionError, match="kvv"):
        parsed(binary, ["frontend", "--router-mode", "kvv"])


@pytest.mark.parametrize("target", ["load", "sla"])
def test_a_planned_graph(binary: Path, target: str) -> None:
    values = sets(
        "planner.enabled=true",
        f"planner.optimizationTarget={target}",
        "planner.profileConfigMap=measured",
        "planner.extraArgs={--ttft,200,--no-operation}",
    )
    service = render(GRAPH_CHART, *values).services["Planner"]
    check(binary, container(service)["args"])
