"""Whether an API server would take an object: strictly, so that nothing is silently dropped."""

from __future__ import annotations

import copy
from pathlib import Path

import jsonschema
import kubernetes_validate

import custom_resources
from helm import ROOT, documents

OLDEST, NEWEST = "1.25", "1.37"
"""Versions of Kubernetes whose schemas the objects are held against."""


def check(found: dict, kubernetes: str = NEWEST) -> None:
    """Fails with the place of the first mistake."""
    name = f"{found['kind']} {found['metadata'].get('name')}"
    schema = custom_resources.schema(found["apiVersion"], found["kind"])
    try:
        if schema is None:
            kubernetes_validate.validate(found, kubernetes, strict=True)
        else:
            jsonschema.validate(found, schema)
    except jsonschema.ValidationError as error:
        place = "/".join(map(str, error.absolute_path))
        raise AssertionError(f"{name}: {place}: {error.message}") from error
    if found["kind"] == "DynamoGraphDeployment":
        for service, spec in found["spec"]["services"].items():
            for pod in pods_of_graph(found, service, spec):
                check(pod, kubernetes)
        for crd in crds("dynamographdeployments"):
            check_against(found, crd)


def pods_of_graph(graph: dict, service: str, spec: dict) -> list[dict]:
    """The Pod that an operator makes of a service, as far as the graph says."""
    pod = copy.deepcopy(spec.get("extraPodSpec", {}))
    main = {"name": "main", **pod.pop("mainContainer", {})}
    for probe in ("livenessProbe", "readinessProbe"):
        if probe in spec:
            main[probe] = spec[probe]
    resources = copy.deepcopy(spec.get("resources", {}))
    for side in resources.values():
        if "gpu" in side:
            side["nvidia.com/gpu"] = side.pop("gpu")
    main["resources"] = resources
    pod["containers"] = [main, *pod.get("containers", [])]
    name = f"{graph['metadata']['name']}-{service.lower()}"
    labels = spec.get("labels", {})
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": pod,
        }
    ]


def crds(plural: str) -> list[dict]:
    """The generated definition of a kind, where the chart dynamo-crds has it."""
    folder: Path = ROOT / "deploy/helm/dynamo-crds/templates"
    files = folder.glob("*.yaml") if folder.is_dir() else ()
    found = [crd for file in files for crd in documents(file.read_text())]
    return [crd for crd in found if crd["spec"]["names"]["plural"] == plural]


def check_against(found: dict, crd: dict) -> None:
    """Holds an object against the schema of its version in a CustomResourceDefinition."""
    (version,) = [
        each for each in crd["spec"]["versions"] if found["apiVersion"].endswith(f"/{each['name']}")
    ]
    schema = strict(version["schema"]["openAPIV3Schema"])
    jsonschema.validate({key: found[key] for key in found if key in ("spec",)}, schema)


def strict(schema: dict) -> dict:
    """The structural schema as JSON Schema that refuses what would be pruned."""
    result = dict(schema)
    if "properties" in result:
        result["properties"] = {name: strict(each) for name, each in result["properties"].items()}
        if not result.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = result.get("additionalProperties", False)
    elif isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = strict(result["additionalProperties"])
    if "items" in result:
        result["items"] = strict(result["items"])
    if result.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
    if result.pop("nullable", False) and "type" in result:
        result["type"] = [result["type"], "null"]
    return result
