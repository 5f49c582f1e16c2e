"""The chart dynamo-vllm: the guides' options, and what its values mean."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from golden import canonical, compare
from helm import (
    CHARTS,
    GRAPH_CHART,
    HelmError,
    Rendered,
    command,
    container,
    environment,
    flag,
    render,
    sets,
)
from wiring import check_wiring
from seeds import OPTIONS, arguments
from validation import NEWEST, OLDEST, check

CHART = CHARTS / "dynamo-vllm"
EXAMPLES = sorted(path.name for path in (CHART / "examples").glob("*.yaml"))
EVERYTHING = sets(
    "service.enabled=true",
    "podDisruptionBudget.enabled=true",
    "networkPolicy.enabled=true",
    "serviceMonitor.enabled=true",
    "huggingface.token=hf_x",
    "discovery.backend=kubernetes",
)
MODEL = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"


def refusal(*args: str, version: int = 4) -> str:
    """What Helm says when it does not render."""
    with pytest.raises(HelmError) as caught:
        render(GRAPH_CHART, *args, version=version)
    return str(caught.value)


def workers(*args: str) -> dict[str, dict]:
    """The services of the graph without the frontend."""
    services = render(GRAPH_CHART, *args).services
    return {name: service for name, service in services.items() if name != "Frontend"}


def gpus(service: dict) -> str:
    """The GPUs that a frontend is shown, or a worker takes."""
    shown = environment(container(service)).get("CUDA_VISIBLE_DEVICES")
    return devices(service) if shown is None else shown


def devices(service: dict) -> str:
    """The GPUs that a worker takes where it sees more than its own."""
    (found,) = re.findall(r"CUDA_VISIBLE_DEVICES=(\S+)", container(service)["command"][2])
    return found


@pytest.mark.parametrize("version", [3, 4])
def test_lint(version: int) -> None:
    for chart in (CHART, GRAPH_CHART):
        done = command(version, "lint", "--strict", chart)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_the_guide(request: pytest.FixtureRequest, option: str) -> None:
    compare(request, f"dynamo-vllm/{option}.yaml", summary(render(GRAPH_CHART, *arguments(option))))


def test_the_whole_of_the_default(request: pytest.FixtureRequest) -> None:
    compare(request, "dynamo-vllm/default.yaml", canonical(render(GRAPH_CHART)))


def summary(release: Rendered) -> str:
    """What an option can change about the services of the graph."""
    found = {}
    for name, service in release.services.items():
        main = container(service)
        lines = {
            "runs": f"{service['replicas']} × {main['image']}",
            "args": " ".join(main["args"]),
            "gpus": f"{service['resources']['limits'].get('gpu', 0)}, at {gpus(service)}",
            "resources": " ".join(
                f"{side}: {amounts['cpu']} {amounts['memory']}"
                for side, amounts in sorted(service["resources"].items(), reverse=True)
            ),
        }
        if selector := service["extraPodSpec"].get("nodeSelector"):
            lines["nodes"] = selector
        if token := environment(main).get("HF_TOKEN"):
            lines["token"] = token["secretKeyRef"]
        found[name] = lines
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=120)


@pytest.mark.parametrize("option", OPTIONS)
def test_options_are_valid(option: str) -> None:
    check_release(arguments(option), NEWEST)


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_with_everything_switched_on_are_valid(example: str, kubernetes: str) -> None:
    check_release(("-f", str(CHART / "examples" / example), *EVERYTHING), kubernetes)


def check_release(args: tuple[str, ...], kubernetes: str) -> None:
    found = render(GRAPH_CHART, *args, kubernetes=kubernetes)
    for each in found.objects:
        check(each, kubernetes)
    check_wiring(found, "dynamo-system")


@pytest.mark.parametrize("case", ["g-tuning", "h-nodes"])
def test_helm_3_and_4_render_the_same(case: str) -> None:
    found = [render(GRAPH_CHART, *arguments(case), *EVERYTHING, version=v) for v in (3, 4)]
    assert canonical(found[0]) == canonical(found[1])


def test_the_default_is_disaggregated_and_unprivileged() -> None:
    services = render(GRAPH_CHART).services
    assert list(services) == ["Frontend", "Prefillworker0", "Decodeworker1"]
    assert "--is-prefill-worker" in container(services["Prefillworker0"])["args"]
    assert "--is-prefill-worker" not in container(services["Decodeworker1"])["args"]
    assert [services[n].get("subComponentType") for n in services] == [None, "prefill", "decode"]
    assert "gpu" not in services["Frontend"]["resources"]["requests"]
    for service in services.values():
        found = container(service)
        assert found["securityContext"]["readOnlyRootFilesystem"] is True
        assert "privileged" not in found["securityContext"]
        assert service["extraPodSpec"]["securityContext"]["runAsNonRoot"] is True
        assert "hostPath" not in str(service)
        assert service["dynamoNamespace"] == "dynamo-vllm"
        assert environment(found)["ETCD_ENDPOINTS"].startswith("dynamo-platform-etcd.dynamo-system")


def test_probes_ask_whether_it_serves() -> None:
    services = render(GRAPH_CHART, *sets("frontend.httpPort=9000")).services
    for name, service in services.items():
        port = "http" if name == "Frontend" else "system"
        assert service["readinessProbe"]["httpGet"] == {"path": "/health", "port": port}
        assert service["livenessProbe"]["httpGet"] == {"path": "/live", "port": port}
    found = container(services["Frontend"])
    assert found["ports"] == [{"name": "http", "containerPort": 9000, "protocol": "TCP"}]
    assert flag(found, "--http-port") == "9000" == environment(found)["DYN_HTTP_PORT"]


def test_probes_of_one_worker() -> None:
    found = workers(*sets("workers[0].probes.startup.failureThreshold=7", "workers[1].replicas=1"))
    startup = [container(each)["startupProbe"] for each in found.values()]
    assert [each["failureThreshold"] for each in startup] == [7, 360]
    assert {each["periodSeconds"] for each in startup} == {10}


def test_a_gpu_is_that_after_the_index() -> None:
    three = sets("workers[0].replicas=1", "workers[1].replicas=1", "workers[2].replicas=1")
    assert [devices(each) for each in workers(*three).values()] == ["1", "2", "3"]
    assert (
        environment(container(render(GRAPH_CHART).services["Frontend"]))["CUDA_VISIBLE_DEVICES"]
        == "0"
    )


@pytest.mark.parametrize("given", ["0", "1", "7"])
def test_a_gpu_that_is_given_counts(given: str) -> None:
    assert devices(workers(*sets(f"workers[0].gpuDevice={given}"))["Worker0"]) == given
    file = workers("--set-json", f'workers=[{{"gpuDevice": {given}}}]')
    assert devices(file["Worker0"]) == given
    text = workers("--set-string", f"workers[0].gpuDevice={given}")
    assert devices(text["Worker0"]) == given


def test_the_multi_node_example_takes_the_gpus_that_it_names() -> None:
    found = workers("-f", str(CHART / "examples/values-multi-node.yaml"))
    assert {n: devices(each) for n, each in found.items()} == {
        "Prefillnode1": "1",
        "Decodenode2": "0",
        "Decodenode3": "0",
    }
    nodes = [
        each["extraPodSpec"]["nodeSelector"]["kubernetes.io/hostname"] for each in found.values()
    ]
    assert nodes == ["gpu-node-1", "gpu-node-2", "gpu-node-3"]


def test_tensor_parallel_workers_ask_for_their_gpus() -> None:
    found = workers(*sets("workers[0].model.tensorParallelSize=4", "workers[0].gpuDevice=2"))[
        "Worker0"
    ]
    assert found["resources"]["requests"]["gpu"] == found["resources"]["limits"]["gpu"] == "4"
    assert devices(found) == "2,3,4,5"
    assert flag(container(found), "--tensor-parallel-size") == "4"


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (
            ("workers[0].model.tensorParallelSize=2", "workers[0].resources.limits.gpu=1"),
            "workers[0]: model.tensorParallelSize is 2, but resources ask for 1 GPUs",
        ),
        (
            ("workers[0].resources.requests.gpu=2",),
            "workers[0]: model.tensorParallelSize is 1, but resources ask for 2 GPUs",
        ),
        (
            ("workers[0].resources.requests.gpu=1", "workers[0].resources.limits.gpu=2"),
            "workers[0].resources: 1 GPUs are requested and 2 are the limit",
        ),
        (
            ("workers[0].name=a-b", "workers[1].name=ab"),
            'would both be the service "ab" of the graph',
        ),
        (("workers[0].name=front-end",), 'would both be the service "frontend" of the graph'),
        (("workers[0].workerType=prefill",), "nothing could answer"),
        (("workers[0].connector=tcp",), "connector: tcp is for engine: embedded"),
        (("workers[0].engine=embedded", "workers[0].connector=nixl"), "nixl is for engine: vllm"),
        (("workers[1].replicas=2",), "workers[0]: the entry is empty"),
        (("workers=null",), "workers: there are none"),
        (
            ("fullnameOverride=a-name-that-fills-nearly-all-of-the-space-that-there-is",),
            "longer than 63 characters",
        ),
        (("runtime=dynamo", "workers[0].engine=mock"), '"mock" needs runtime: tandem'),
        (
            ("runtime=dynamo", "frontend.routerMode=least-loaded"),
            '"least-loaded" needs runtime: tandem',
        ),
        (
            ("runtime=dynamo", "workerHttp.enabled=true"),
            "workerHttp.enabled: needs runtime: tandem",
        ),
    ],
)
def test_what_cannot_work_is_refused(assignments: tuple[str, ...], said: str) -> None:
    assert said in refusal(*sets(*assignments))


def test_only_the_embedded_engine_has_a_model_of_its_own() -> None:
    said = refusal("--set-json", 'workers=[{"model": {"path": ""}}]')
    assert "workers[0].model.path: only engine: embedded has a model of its own" in said


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("frontend.routermode=kv", "routermode"),
        ("frontend.routerMode=kvv", "routerMode"),
        ("workers[0].gpudevice=1", "gpudevice"),
        ("workers[0].model.gpuMemoryUtilisation=0.5", "gpuMemoryUtilisation"),
        ("workers[0].model.gpuMemoryUtilization=1.5", "gpuMemoryUtilization"),
        ("workers[0].model.gpuMemoryUtilization=0", "gpuMemoryUtilization"),
        ("workers[0].workerType=prefil", "workerType"),
        ("workers[0].replicas=-1", "replicas"),
        ("workers[0].model.enforceEager=maybe", "enforceEager"),
        ("workers[0].resources.requests.gpus=1", "gpus"),
        ("workers[0].resources.requests.memory=32GB", "memory"),
        ("image.pullpolicy=Never", "pullpolicy"),
        ("image.digest=sha256:1", "digest"),
        ("discovery.backend=consul", "backend"),
        ("dynamoConfig.kvCache.enabled=true", "dynamoConfig"),
    ],
)
def test_a_typing_error_is_refused_by_name(assignment: str, named: str) -> None:
    assert named in refusal(*sets(assignment))


def test_helm_3_refuses_typing_errors_too() -> None:
    assert "routermode" in refusal(*sets("frontend.routermode=kv"), version=3)


@pytest.mark.parametrize(
    ("given", "rendered"),
    [("0.85", "0.85"), ("0.9", "0.9"), ("1", "1"), (".5", "0.5"), ("0.875", "0.875")],
)
def test_decimals(given: str, rendered: str) -> None:
    found = workers(*sets(f"workers[0].model.gpuMemoryUtilization={given}"))["Worker0"]
    assert flag(container(found), "--gpu-memory-utilization") == rendered


def test_large_numbers_stay_whole() -> None:
    found = workers("--set-json", 'workers=[{"model": {"maxModelLen": 10485760}, "replicas": 3}]')[
        "Worker0"
    ]
    assert flag(container(found), "--max-model-len") == "10485760"
    assert found["replicas"] == 3


def test_what_a_worker_does_not_say() -> None:
    found = workers(*sets("workers[0].replicas=2"))["Worker0"]
    assert found["replicas"] == 2
    args = container(found)["args"]
    assert args == [
        "worker",
        "--engine",
        "vllm",
        "--model",
        MODEL,
        "--tensor-parallel-size",
        "1",
        "--enforce-eager",
        "--gpu-memory-utilization",
        "0.9",
        "--connector",
        "null",
    ]
    assert found["resources"] == {
        "requests": {"cpu": "1", "memory": "4Gi", "gpu": "1"},
        "limits": {"cpu": "2", "memory": "8Gi", "gpu": "1"},
    }
    off = workers(*sets("workers[0].model.enforceEager=false", "workers[0].replicas=0"))["Worker0"]
    assert "--enforce-eager" not in container(off)["args"] and off["replicas"] == 0


@pytest.mark.parametrize("side", ["requests", "limits"])
def test_one_side_of_the_resources_is_enough(side: str) -> None:
    given = sets(f"workers[0].resources.{side}.cpu=4", f"workers[0].resources.{side}.memory=32Gi")
    found = workers(*given)["Worker0"]["resources"]
    assert found["requests"] == found["limits"] == {"cpu": "4", "memory": "32Gi", "gpu": "1"}
    frontend = render(GRAPH_CHART, *sets(f"frontend.resources.{side}.cpu=3")).services["Frontend"]
    assert frontend["resources"][side]["cpu"] == "3"


def test_workers_by_name() -> None:
    """In a map, `--set` changes one thing of one worker, also with --reuse-values."""
    older = {
        "prefill": {"workerType": "prefill", "model": {"path": "m"}, "gpuDevice": 0},
        "decode": {"workerType": "decode", "model": {"path": "m", "tensorParallelSize": 2}},
    }
    args = ("--set-json", f"workers={json.dumps(older)}", *sets("workers.decode.replicas=3"))
    found = workers(*args)
    assert list(found) == ["Decode", "Prefill"]
    assert found["Decode"]["replicas"] == 3 and found["Decode"]["resources"]["limits"]["gpu"] == "2"
    assert devices(found["Decode"]) == "1,2" and devices(found["Prefill"]) == "0"
    assert not render(GRAPH_CHART, *args).all("ConfigMap")
    dropped = workers(*args, *sets("workers.prefill=null"))
    assert list(dropped) == ["Decode"]


def test_arguments_reach_the_program_as_they_are() -> None:
    nasty = "a b; $(touch /tmp/x) 'q' \"d\" `b`"
    entry = [{"model": {"path": "m", "extraArgs": ["--engine-args", nasty]}}]
    found = container(workers("--set-json", f"workers={json.dumps(entry)}")["Worker0"])
    assert found["args"][-2:] == ["--engine-args", nasty]
    assert found["command"][2].strip().endswith('exec tandem "$@"')
    assert "touch" not in found["command"][2]


def test_the_token_of_the_hub() -> None:
    def token(*args: str) -> object:
        return environment(container(workers(*args)["Prefillworker0"])).get("HF_TOKEN")

    assert token() is None
    own = {"secretKeyRef": {"name": "dynamo-vllm-huggingface", "key": "HF_TOKEN"}}
    assert token(*sets("huggingface.token=hf_x")) == own
    assert "hf_x" not in str(render(GRAPH_CHART, *sets("huggingface.token=hf_x")).services)
    given = sets("huggingface.existingSecret=hf-secret", "huggingface.token=hf_x")
    assert token(*given)["secretKeyRef"] == {"name": "hf-secret", "key": "HF_TOKEN"}
    assert not render(GRAPH_CHART, *given).all("Secret")
    other = (*given, *sets("huggingface.existingSecretKey=token"))
    assert token(*other)["secretKeyRef"]["key"] == "token"


def images(*args: str) -> list[str]:
    return [container(each)["image"] for each in render(GRAPH_CHART, *args).services.values()]


def test_images() -> None:
    digest = f"sha256:{'a' * 64}"
    assert images()[:2] == ["tandem:0.1.0", "tandem-vllm:0.1.0"]
    registry = images(*sets("image.registry=registry.example.com/ai", "image.tag=1.2"))
    assert registry[:2] == [
        "registry.example.com/ai/tandem:1.2",
        "registry.example.com/ai/tandem-vllm:1.2",
    ]
    assert set(images(*sets("image.repository=mine", "image.tag=t"))) == {"mine:t"}
    assert set(images(*sets("image.repository=mine", f"image.digest={digest}"))) == {
        f"mine@{digest}"
    }
    own = images(*sets(f"image.digest={digest}", "workerImage.repository=w", "workerImage.tag=v9"))
    assert own == [f"tandem@{digest}", "w:v9", "w:v9"]
    stock = set(images(*sets("runtime=dynamo")))
    assert stock == {"nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.6.1.post1"}
    found = render(
        GRAPH_CHART, *sets("imagePullSecrets[0].name=s", "image.pullPolicy=Always")
    ).services
    for service in found.values():
        assert service["extraPodSpec"]["imagePullSecrets"] == [{"name": "s"}]
        assert container(service)["imagePullPolicy"] == "Always"


def test_nvidias_runtime() -> None:
    services = render(
        GRAPH_CHART, "-f", str(CHART / "examples/values-dynamo-runtime.yaml")
    ).services
    frontend, prefill = container(services["Frontend"]), container(services["Prefillworker0"])
    assert frontend["command"] == ["python3", "-m", "dynamo.frontend"]
    assert frontend["args"] == ["--http-port", "8000", "--router-mode", "kv"]
    assert "exec python3 -m dynamo.vllm" in prefill["command"][2]
    assert prefill["args"][:2] == ["--model", MODEL]
    assert environment(prefill)["NATS_URL"].startswith("nats://")


def test_kubernetes_discovery_needs_no_servers() -> None:
    found = render(GRAPH_CHART, *sets("discovery.backend=kubernetes"))
    for service in found.services.values():
        variables = environment(container(service))
        assert variables["DYN_DISCOVERY_BACKEND"] == "kubernetes"
        assert variables["DYN_EVENT_PLANE"] == "zmq"
        assert not {"ETCD_ENDPOINTS", "NATS_SERVER", "NATS_URL"} & set(variables)
        assert service["extraPodSpec"]["serviceAccountName"] == "dynamo-vllm"
        assert service["extraPodSpec"]["automountServiceAccountToken"] is True
    (binding,) = found.all("RoleBinding")
    assert binding["subjects"][0]["name"] == found.one("ServiceAccount")["metadata"]["name"]
    assert binding["roleRef"]["name"] == found.one("Role")["metadata"]["name"]
    assert "*" not in str(found.one("Role")["rules"])
    given = render(GRAPH_CHART, *sets("discovery.backend=kubernetes", "serviceAccount.name=mine"))
    assert not given.all("Role")
    assert not render(GRAPH_CHART).all("ServiceAccount")


def test_workers_for_gateways_that_pick_them() -> None:
    from test_gateway import POOL, gateway

    found = workers(*sets("workerHttp.enabled=true", "workerHttp.port=8001"))
    assert flag(container(found["Decodeworker1"]), "--http-port") == "8001"
    assert {"name": "http", "containerPort": 8001, "protocol": "TCP"} in container(
        found["Decodeworker1"]
    )["ports"]
    assert flag(container(found["Prefillworker0"]), "--http-port") is None
    wanted = gateway(*POOL).one("InferencePool")["spec"]["selector"]["matchLabels"].items()
    assert [wanted <= each["labels"].items() for each in found.values()] == [False, True]


def test_without_a_gpu() -> None:
    found = render(GRAPH_CHART, "-f", str(CHART / "examples/values-cpu.yaml")).services
    for service in found.values():
        assert "gpu" not in str(service["resources"])
        assert container(service)["command"] == ["tandem"]
        assert container(service)["image"] == "tandem:0.1.0"
    assert container(found["Prefill"])["args"] == [
        "worker",
        "--engine",
        "embedded",
        "--is-prefill-worker",
        "--connector",
        "tcp",
    ]


def test_everything_lands_in_one_namespace() -> None:
    for args, expected in (
        ((), "dynamo-system"),
        (sets("global.namespace=elsewhere"), "elsewhere"),
    ):
        found = render(GRAPH_CHART, *EVERYTHING, *args)
        assert {each["metadata"]["namespace"] for each in found.objects} == {expected}


def test_names_follow_the_release() -> None:
    found = render(GRAPH_CHART, release="prod")
    assert found.one("DynamoGraphDeployment")["metadata"]["name"] == "prod-dynamo-vllm"
    named = render(GRAPH_CHART, *sets("fullnameOverride=vllm"))
    assert named.one("DynamoGraphDeployment")["metadata"]["name"] == "vllm"


def test_no_object_is_the_operators() -> None:
    """The operator makes a Service for each service of the graph; ours have other names."""
    found = render(GRAPH_CHART, *EVERYTHING)
    operators = {f"dynamo-vllm-{name.lower()}" for name in found.services}
    assert not operators & {each["metadata"]["name"] for each in found.all("Service")}


def test_labels_that_selectors_need_do_not_change_with_the_chart() -> None:
    for service in render(GRAPH_CHART).services.values():
        assert set(service["labels"]) == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/component",
        }


PLANNED = sets("planner.enabled=true", "planner.maxGpuBudget=12")


def test_a_planner_changes_the_workers_of_its_graph() -> None:
    assert "Planner" not in render(GRAPH_CHART).services
    release = render(GRAPH_CHART, *PLANNED)
    for each in release.objects:
        check(each, NEWEST)
    check_wiring(release, "default")
    planner = release.services["Planner"]
    run = container(planner)
    graph = next(each for each in release.objects if each["kind"] == "DynamoGraphDeployment")
    frontend = f"{graph['metadata']['name']}-frontend"
    assert flag(run, "--frontend-url") == f"http://{frontend}:8000"
    assert (flag(run, "--max-gpu-budget"), flag(run, "--environment")) == ("12", "kubernetes")
    # Whom it changes is what the graph calls prefill and decode.
    kinds = [each.get("subComponentType") for each in release.services.values()]
    assert kinds.count("prefill") == kinds.count("decode") == 1
    # The operator gives it its identity.
    assert "serviceAccountName" not in planner["extraPodSpec"]


def test_a_planner_reads_a_profile() -> None:
    values = sets("planner.optimizationTarget=sla", "planner.profileConfigMap=measured")
    planner = render(GRAPH_CHART, *PLANNED, *values).services["Planner"]
    assert flag(container(planner), "--profile") == "/profile/profile.json"
    (volume,) = planner["extraPodSpec"]["volumes"]
    (mount,) = container(planner)["volumeMounts"]
    assert (volume["name"], volume["configMap"]["name"]) == (mount["name"], "measured")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (("planner.optimizationTarget=sla",), "profileConfigMap"),
        (("runtime=dynamo",), "runtime: tandem"),
        (("frontend.enabled=false",), "frontend"),
        (("workers[0].workerType=both", "workers[0].model.path=m"), "one entry of workers"),
        (("planner.optimizationTarget=throughput",), "optimizationTarget"),
    ],
)
def test_a_planner_that_could_not_work_is_refused(values: tuple[str, ...], says: str) -> None:
    assert says in refusal(*PLANNED, *sets(*values))
