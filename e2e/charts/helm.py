"""Runs real Helm and reads what it renders."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv-kubernetes/bin"
CHARTS = ROOT / "deploy/helm"
SEEDS = ROOT / "deploy/kubernetes/dynamo"
GRAPH_CHART = "./deploy/kubernetes/dynamo/helm-chart"
"""Where the guides look for the chart dynamo-vllm; commands run in the root of the repository."""


class Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a key that is there twice is a mistake."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        assert not twice, f"twice in one object: {twice}, at {node.start_mark}"
        return super().construct_mapping(node, deep)


# `on`, `yes` and `off` are text to Kubernetes, which reads YAML 1.2.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(true|false|True|False|TRUE|FALSE)$"), list("tfTF")
)


def documents(text: str) -> list[dict]:
    """The objects of a stream of YAML documents."""
    return [found for found in yaml.load_all(text, Loader) if found is not None]


class HelmError(Exception):
    """Helm refused; the text is what it said."""


def command(
    version: int, *args: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `helm ARGS…` of a major version in the root of the repository."""
    program = TOOLS / f"helm{version}"
    assert program.exists(), f"{program} is missing: make .venv-kubernetes/installed"
    # Nothing of the person's own: no cluster, plugin or repository.
    home = Path(tempfile.gettempdir()) / "tandem-helm"
    clean = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HELM_CACHE_HOME": str(home / "cache"),
        "HELM_CONFIG_HOME": str(home / "config"),
        "HELM_DATA_HOME": str(home / "data"),
        "KUBECONFIG": "/dev/null",
    }
    return subprocess.run(
        [str(program), *map(str, args)],
        cwd=ROOT,
        env={**clean, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )


@dataclass(frozen=True)
class Rendered:
    """What a release consists of."""

    objects: tuple[dict, ...]

    def all(self, kind: str) -> list[dict]:
        return [found for found in self.objects if found["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> dict:
        """The only object of a kind, or the one of that name."""
        found = [o for o in self.all(kind) if name in (None, o["metadata"]["name"])]
        assert len(found) == 1, f"{kind} {name}: {[o['metadata']['name'] for o in self.all(kind)]}"
        return found[0]

    @property
    def services(self) -> dict[str, dict]:
        """The services of the graph of dynamo-vllm."""
        return self.one("DynamoGraphDeployment")["spec"]["services"]


@functools.cache
def render(
    chart: str | Path,
    *args: str,
    release: str = "dynamo-vllm",
    namespace: str = "dynamo-system",
    version: int = 4,
    kubernetes: str = "1.37",
) -> Rendered:
    """What `helm template RELEASE CHART ARGS…` renders."""
    place = ("--namespace", namespace, "--kube-version", kubernetes)
    done = command(version, "template", release, chart, *place, *args)
    if done.returncode != 0:
        raise HelmError(done.stderr)
    return Rendered(tuple(documents(done.stdout)))


def sets(*assignments: str) -> tuple[str, ...]:
    """`--set` once for each."""
    return tuple(part for each in assignments for part in ("--set", each))


def container(service: dict) -> dict:
    """The main container of a service of a graph."""
    return service["extraPodSpec"]["mainContainer"]


def environment(found: dict) -> dict[str, object]:
    """The variables of a container; those from elsewhere with their source."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in found.get("env", [])}


def flag(found: dict, name: str) -> str | None:
    """The value of an argument of a container."""
    args = found["args"]
    return args[args.index(name) + 1] if name in args else None
