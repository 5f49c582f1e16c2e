"""`tandem operator` as a process, before an API server that is one too."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tandem_process import Lines, Tandem

GRAPHS = 200
MOST_MEMORY = 50 * 1024
"""KiB that the operator may hold with 200 graphs, its code included."""
MOST_OWN_MEMORY = 25 * 1024
"""KiB of that which are not code; a debug build has much more code."""
GROUP = "/apis/nvidia.com/v1alpha1/namespaces/models/dynamographdeployments"


class ApiServer:
    """The in-memory Kubernetes API server of the operator's own tests."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen(
            [str(program)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        self.out = Lines(self.process.stdout)
        address = self.out.wait_for(r"^http://", timeout=30)
        assert address is not None, "the API server did not start"
        self.address = address

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def create(self, name: str) -> None:
        self.call("POST", GROUP, graph(name))

    def graphs(self) -> list[dict]:
        return self.call("GET", GROUP)["items"]

    def deployments(self) -> list[dict]:
        return self.call("GET", "/apis/apps/v1/namespaces/models/deployments")["items"]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)


def graph(name: str) -> dict:
    """A graph with a frontend, a prefill and a decode worker of stock images."""

    def component(kind: str, command: str, half: str | None = None) -> dict:
        container = {
            "image": "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.6.1.post1",
            "command": ["/bin/sh", "-c"],
            "args": [command],
            "env": [{"name": f"SETTING_{number}", "value": "x" * 64} for number in range(10)],
        }
        spec = {"componentType": kind, "replicas": 1}
        spec["extraPodSpec"] = {"mainContainer": container}
        return spec | ({"subComponentType": half} if half else {})

    worker = "python3 -m dynamo.vllm --model Qwen/Qwen3-0.6B"
    return {
        "metadata": {"name": name},
        "spec": {
            "services": {
                "Frontend": component("frontend", "python3 -m dynamo.frontend"),
                "Prefill": component("worker", f"{worker} --is-prefill-worker", "prefill"),
                "Decode": component("worker", worker, "decode"),
            }
        },
    }


@pytest.fixture
def api_server(binary: Path) -> Iterator[ApiServer]:
    program = binary.parent / "examples/api_server"
    if not program.is_file():
        pytest.fail(f"build it with `cargo build -p tandem-operator --example api_server`: {program}")
    server = ApiServer(program)
    yield server
    server.stop()


@pytest.fixture
def start(
    binary: Path, environment: dict[str, str], api_server: ApiServer, tmp_path: Path
) -> Callable[..., Tandem]:
    """Starts `tandem operator FLAGS…` on a free port; use it in a `with` block."""
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": api_server.address}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "users": [{"name": "test", "user": {}}],
            }
        )
    )
    env = {**environment, "KUBECONFIG": str(config)}
    flags = ("operator", "--metrics-host", "127.0.0.1", "--metrics-port", "0")
    return lambda *args: Tandem(binary, *flags, *args, env=env)


def page(operator: Tandem, path: str) -> tuple[int, str]:
    line = operator.out.wait_for(r"^operator http://", timeout=60)
    assert line is not None, operator.story()
    address = line.removeprefix("operator ")
    try:
        with urllib.request.urlopen(address + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_until(what: str, test: Callable[[], bool], operator: Tandem, seconds: float = 80) -> None:
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline, f"waited for: {what}\n{operator.story()}"
        time.sleep(0.5)


def ready(server: ApiServer) -> int:
    states = [graph.get("status", {}).get("state") for graph in server.graphs()]
    return states.count("successful")


def memory(operator: Tandem) -> dict[str, int]:
    """KiB that the process holds: in all, at most so far, and without its code."""
    status = Path(f"/proc/{operator.process.pid}/status").read_text()
    names = ("VmRSS", "VmHWM", "RssAnon")
    return {name: int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) for name in names}


@pytest.fixture
def busy_operator(start, api_server: ApiServer) -> Iterator[Tandem]:
    """An operator that has made everything for many graphs; how long it takes is no test."""
    for number in range(GRAPHS):
        api_server.create(f"graph{number}")
    with start() as operator:
        began = time.monotonic()
        wait_until("all graphs are ready", lambda: ready(api_server) == GRAPHS, operator, 400)
        print(f"{GRAPHS} graphs ready in {time.monotonic() - began:.1f} s")
        yield operator


def test_two_hundred_graphs_fit_into_little_memory(
    busy_operator: Tandem, api_server: ApiServer, binary: Path
) -> None:
    held = memory(busy_operator)
    print(held)
    assert len(api_server.deployments()) == 3 * GRAPHS
    assert held["RssAnon"] < MOST_OWN_MEMORY, held
    if binary.parent.name != "debug":
        assert held["VmRSS"] < MOST_MEMORY, held
    code, text = page(busy_operator, "/metrics")
    assert code == 200
    assert 'tandem_operator_writes_total{kind="Deployment",verb="apply"}' in text
    assert page(busy_operator, "/healthz")[0] == page(busy_operator, "/readyz")[0] == 200


def test_an_operator_that_is_killed_is_followed_by_one_that_finishes(
    start, api_server: ApiServer
) -> None:
    with start() as operator:
        wait_until("it acts", lambda: page(operator, "/readyz")[0] == 200, operator)
        for number in range(40):
            api_server.create(f"graph{number}")
        wait_until("it is in the middle", lambda: len(api_server.deployments()) > 5, operator)
        operator.signal(signal.SIGKILL)
        operator.wait(10)
    with start() as operator:
        wait_until("all graphs are ready", lambda: ready(api_server) == 40, operator)
        assert len(api_server.deployments()) == 120
        operator.signal(signal.SIGTERM)
        assert operator.wait(15) == 0, operator.story()


def test_without_a_cluster_it_says_so(
    binary: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    hidden = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")
    env = {name: value for name, value in environment.items() if name not in hidden}
    flags = ("operator", "--metrics-port", "0", "--metrics-host", "127.0.0.1")
    with Tandem(binary, *flags, env={**env, "HOME": str(tmp_path)}) as operator:
        assert operator.process.wait(30) == 1
        operator.log.end(2)
        text = "\n".join(operator.log.since())
        assert "KUBECONFIG" in text and "panicked" not in text, text
