"""The chart semantic-router-gateway, and the manifests that people apply without Helm."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path

import pytest

from helm import CHARTS, SEEDS, HelmError, Rendered, command, documents, render, sets
from validation import check

CHART = CHARTS / "semantic-router-gateway"
RESOURCES = SEEDS / "dynamo-resources"
PATCH = sets("extProc.kind=EnvoyPatchPolicy")
POOL = sets("backend.kind=InferencePool", "backend.name=workers", "router.namespace=dynamo-system")
MANIFESTS = {
    "gwapi-resources.yaml": ((), "The gateway in front of the frontend, with an EnvoyExtensionPolicy."),
    "gwapi-resources-patch.yaml": (
        PATCH,
        "The same with an EnvoyPatchPolicy, for which Envoy Gateway needs envoy-gateway-values.yaml.",
    ),
    "gwapi-resources-patch-v2.yaml": (
        (*PATCH, *sets("extProc.xdsNameScheme=v2")),
        "The same for Envoy Gateways that name their resources by the scheme of XDSNameSchemeV2.",
    ),
    "gwapi-resources-inference-pool.yaml": (
        POOL,
        "Without a frontend: the router picks the worker. For gateways that know InferencePools.",
    ),
}
GATEWAY = "gateway.networking.k8s.io"


def gateway(*args: str) -> Rendered:
    return render(CHART, *args, release="semantic-router-gateway", namespace="default")


@pytest.mark.parametrize("version", [3, 4])
def test_lint(version: int) -> None:
    done = command(version, "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_what_the_chart_renders(request: pytest.FixtureRequest, name: str) -> None:
    args, about = MANIFESTS[name]
    done = command(4, "template", "semantic-router-gateway", CHART, "-n", "default", *args)
    text = re.sub(r"^# Source: .*\n", "", done.stdout, flags=re.MULTILINE)
    text = f"# {about}\n# Rendered from deploy/helm/semantic-router-gateway.\n{text}".replace("\n\n---", "\n---")
    path = RESOURCES / name
    if request.config.getoption("--write-golden"):
        path.write_text(text.rstrip("\n") + "\n")
    assert path.read_text() == text.rstrip("\n") + "\n"


@pytest.mark.parametrize("path", sorted(RESOURCES.glob("*.yaml")), ids=lambda path: path.name)
def test_manifests_are_valid(path: Path) -> None:
    if path.name == "envoy-gateway-values.yaml":
        (values,) = documents(path.read_text())
        assert values["config"]["envoyGateway"]["extensionApis"] == {"enableEnvoyPatchPolicy": True}
        return
    for each in documents(path.read_text()):
        check(each)


@pytest.mark.parametrize("args", [(), PATCH, POOL, sets("gateway.listener.tlsSecret=s", "gateway.listener.port=443")])
def test_objects_are_valid_and_refer_to_each_other(args: tuple[str, ...]) -> None:
    found = gateway(*args)
    for each in found.objects:
        check(each)
        for target in each["spec"].get("targetRefs", []) + [each["spec"].get("targetRef", {"kind": "Gateway"})]:
            assert target["kind"] == "Gateway"
            assert target.get("name", "semantic-router") == found.one("Gateway")["metadata"]["name"]
    assert found.one("Gateway")["spec"]["gatewayClassName"] == found.one("GatewayClass")["metadata"]["name"]
    check_grants(found)


def check_grants(found: Rendered) -> None:
    """Each reference into another namespace is granted there, and nothing else is."""
    wanted = set()
    for each in found.objects:
        refs = [ref for rule in each["spec"].get("rules", []) for ref in rule["backendRefs"]]
        refs += [ref for ext in each["spec"].get("extProc", []) for ref in ext["backendRefs"]]
        for ref in refs:
            if "namespace" in ref:
                source = (each["apiVersion"].partition("/")[0], each["kind"], each["metadata"]["namespace"])
                wanted.add((ref["namespace"], source, (ref["group"], ref["kind"], ref["name"])))
    granted = {
        (
            grant["metadata"]["namespace"],
            (source["group"], source["kind"], source["namespace"]),
            (target["group"], target["kind"], target["name"]),
        )
        for grant in found.all("ReferenceGrant")
        for source in grant["spec"]["from"]
        for target in grant["spec"]["to"]
    }
    assert granted == wanted


def test_streams_are_neither_cut_nor_held_back() -> None:
    """Without a timeout of the route Envoy cuts after 15 s; a buffered body has no first token."""
    route = gateway().one("HTTPRoute")
    assert [rule["timeouts"]["request"] for rule in route["spec"]["rules"]] == ["0s"]
    (policy,) = gateway().one("EnvoyExtensionPolicy")["spec"]["extProc"]
    assert policy["processingMode"]["response"]["body"] == "Streamed"
    assert policy["processingMode"]["allowModeOverride"] is True
    assert policy["messageTimeout"] == "60s"
    mode = ext_proc(gateway(*PATCH))["processing_mode"]
    assert mode["response_body_mode"] == "STREAMED"
    assert ext_proc(gateway(*PATCH))["allow_mode_override"] is True


def test_long_prompts_pass_and_steering_headers_do_not() -> None:
    policy = gateway().one("ClientTrafficPolicy")["spec"]
    assert policy["connection"]["bufferLimit"] == "50Mi"
    removed = policy["headers"]["earlyRequestHeaders"]["remove"]
    assert {"x-selected-model", "x-gateway-destination-endpoint"} <= set(removed)


def test_an_outage_of_the_router_lets_nothing_pass() -> None:
    (policy,) = gateway().one("EnvoyExtensionPolicy")["spec"]["extProc"]
    assert policy["failOpen"] is False
    assert ext_proc(gateway(*PATCH))["failure_mode_allow"] is False


def test_logs_are_quiet() -> None:
    assert gateway().one("EnvoyProxy")["spec"]["logging"]["level"] == {"default": "warn"}


def test_names_are_those_of_the_guides() -> None:
    found = gateway(*PATCH)
    assert found.one("HTTPRoute")["metadata"] == {"name": "semantic-router-to-dynamo", "namespace": "default"}
    assert found.one("EnvoyPatchPolicy")["metadata"]["name"] == "semantic-router-extproc-patch-policy"
    (ref,) = found.one("HTTPRoute")["spec"]["rules"][0]["backendRefs"]
    assert (ref["name"], ref["namespace"], ref["port"]) == ("dynamo-vllm-frontend", "dynamo-system", 8000)


def test_both_schemes_of_names() -> None:
    def listener(*args: str) -> str:
        return gateway(*PATCH, *args).one("EnvoyPatchPolicy")["spec"]["jsonPatches"][0]["name"]

    assert listener() == "default/semantic-router/http"
    assert listener(*sets("gateway.name=g", "gateway.listener.name=web")) == "default/g/web"
    assert listener(*sets("extProc.xdsNameScheme=v2")) == "tcp-80"
    assert listener(*sets("extProc.xdsNameScheme=v2", "gateway.listener.port=8080")) == "tcp-8080"


def test_the_picker_is_in_the_namespace_of_its_pool() -> None:
    pool = gateway(*POOL).one("InferencePool")
    assert pool["metadata"]["namespace"] == "dynamo-system"
    assert pool["spec"]["endpointPickerRef"]["port"] == {"number": 50051}
    assert gateway(*POOL).one("EnvoyExtensionPolicy")["spec"]["extProc"][0]["metadata"]["writableNamespaces"] == [
        "envoy.lb"
    ]
    with pytest.raises(HelmError, match="has to be in the namespace of its pool"):
        gateway(*sets("backend.kind=InferencePool"))


@pytest.mark.parametrize(
    "assignment", ["extProc.mode=x", "extProc.kind=Patch", "route.requestTimeout=forever", "gateway.listener.port=0"]
)
def test_a_typing_error_is_refused(assignment: str) -> None:
    with pytest.raises(HelmError, match="schema"):
        gateway(*sets(assignment))


def ext_proc(release: Rendered) -> dict:
    return release.one("EnvoyPatchPolicy")["spec"]["jsonPatches"][0]["operation"]["value"]["typed_config"]


@pytest.mark.parametrize("args", [PATCH, (*PATCH, *POOL)], ids=["service", "pool"])
def test_a_real_envoy_takes_the_patch(args: tuple[str, ...], tmp_path: Path) -> None:
    envoy = pytest.importorskip("envoy", reason="PyPI has no Envoy for this machine")
    listener, cluster = (
        patch["operation"] for patch in gateway(*args).one("EnvoyPatchPolicy")["spec"]["jsonPatches"]
    )
    config = {"static_resources": {"listeners": [listener_like_envoy_gateways()], "clusters": []}}
    add(config["static_resources"]["listeners"][0], listener)
    config["static_resources"]["clusters"].append(cluster["value"])
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(config))
    program = Path(envoy.__file__).parent / "_bin/envoy"
    done = subprocess.run([program, "--mode", "validate", "-c", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def listener_like_envoy_gateways() -> dict:
    """A listener with its filter chain where Envoy Gateway has it."""
    extensions = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{extensions}.http.router.v3.Router"}}
    manager = {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {"name": "default/semantic-router/http"},
        "http_filters": [router],
    }
    return {
        "name": "default/semantic-router/http",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "default_filter_chain": {
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        },
    }


def add(document: dict, operation: dict) -> None:
    """The operation `add` of JSON Patch, into a list."""
    *path, last = operation["path"].lstrip("/").split("/")
    place = document
    for part in path:
        place = place[int(part)] if isinstance(place, list) else place[part]
    assert operation["op"] == "add" and isinstance(place, list)
    place.insert(int(last), copy.deepcopy(operation["value"]))
