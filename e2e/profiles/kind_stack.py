"""The stack in a kind cluster with GPUs, made by the install guide's own commands.

It needs Docker with NVIDIA's runtime as its default, kind, and three GPUs.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from cluster import eventually, free_port
from guide import read
from helm import ROOT, TOOLS
from openmetrics import Metrics
from raw_http import request
from stack import MODEL, Stack

CLUSTER = "semantic-router-dynamo"
SYSTEM = "dynamo-system"
GPUS = 3
"""One prefill and two decode workers."""
STEPS = (
    "Images",
    "With GPUs",
    "Step 2: the platform",
    "Step 3: Envoy Gateway",
    "Step 4: the semantic router",
    "Step 5: rights",
)
"""Headings of the guide whose commands are run before the workers are installed."""
RUNTIME_HELP = """Docker's default runtime is {runtime!r}, and kind's nodes see GPUs only with 'nvidia'. Once, as root:
  nvidia-ctk runtime configure --runtime=docker --set-as-default
  systemctl restart docker
  docker info | grep -i "default runtime"    # Default Runtime: nvidia"""


class SetupError(Exception):
    """The machine cannot run the profile, or a step of the set-up failed; says what to do."""


class Shell:
    """Runs commands in the root of the repository, and shows them when asked to."""

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
        # The guide says `helm`; the newest that is tested stands in where there is none.
        self.folder = Path(tempfile.mkdtemp(prefix="tandem-e2e-"))
        (self.folder / "helm").symlink_to(TOOLS / "helm4")
        self.env = {**os.environ, "PATH": f"{path}{os.pathsep}{self.folder}"}

    def run(self, *words: str, timeout: float = 900) -> str:
        """What the command prints."""
        if self._verbose:
            print(f"$ {' '.join(words)}", flush=True)
        try:
            done = subprocess.run(
                words, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=timeout
            )
        except FileNotFoundError as error:
            raise SetupError(f"{words[0]} is not installed") from error
        if done.returncode != 0:
            raise SetupError(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def script(self, text: str) -> None:
        """Runs a block of a guide; files that it makes land in a folder of their own."""
        for name in ("kind-gpu-config.yaml", "nvidia-device-plugin.yaml"):
            text = text.replace(name, str(self.folder / name))
        self.run("bash", "-euo", "pipefail", "-c", text, timeout=3600)

    def start(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            words, cwd=ROOT, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def workers() -> str:
    """The workers of the profile as a value of the chart."""
    model = {"path": MODEL, "enforceEager": True}
    kinds = (("prefill", 1), ("decode", 2))
    return json.dumps(
        [
            {"name": f"{kind}-worker", "workerType": kind, "replicas": count, "connector": "nixl", "model": model}
            for kind, count in kinds
        ]
    )


class KindStack(Stack):
    """Made when it is opened; `stop` deletes the cluster."""

    name = CLUSTER

    def __init__(self, verbose: bool) -> None:
        self._shell = Shell(verbose)
        self._forwards: list[subprocess.Popen] = []
        self.check_machine()
        self._install()
        self.gateway = self._forward(self._envoy(), "envoy-gateway-system", 80)
        self.frontend = self._forward("svc/dynamo-vllm-frontend", SYSTEM, 8000)
        self._monitor = self._forward("pod/dynamo-platform-nats-0", SYSTEM, 8222)

    def check_machine(self) -> None:
        """Fails with instructions where the profile cannot run."""
        runtime = self._shell.run("docker", "info", "--format", "{{.DefaultRuntime}}").strip()
        if runtime != "nvidia":
            raise SetupError(RUNTIME_HELP.format(runtime=runtime))
        gpus = self._shell.run("nvidia-smi", "--list-gpus").splitlines()
        if len(gpus) < GPUS:
            raise SetupError(f"the profile needs {GPUS} GPUs, and this machine has {len(gpus)}")
        if CLUSTER in self._shell.run("kind", "get", "clusters").split():
            raise SetupError(f"the cluster {CLUSTER} is there already: kind delete cluster --name {CLUSTER}")

    def _install(self) -> None:
        guide = read("en")
        for step in STEPS:
            for block in guide.sections[step]:
                # Set up once by the person, and checked before.
                if "nvidia-ctk" not in block:
                    self._shell.script(block)
        chart = "./deploy/kubernetes/dynamo/helm-chart"
        place = ("--namespace", SYSTEM, "-f", f"{chart}/examples/values-kind-gpu.yaml")
        self._shell.run("helm", "install", "dynamo-vllm", chart, *place, "--set-json", f"workers={workers()}")
        self._kubectl(
            "wait", "--for=condition=Ready", "dynamographdeployment/dynamo-vllm", "-n", SYSTEM, "--timeout=1800s"
        )
        for block in guide.sections["Step 7: the gateway"]:
            self._shell.script(block)
        eventually(lambda: self._envoy(), 600)

    def _kubectl(self, *args: str) -> str:
        return self._shell.run("kubectl", *args, timeout=2400)

    def _envoy(self) -> str:
        owner = "gateway.envoyproxy.io/owning-gateway"
        selector = f"--selector={owner}-namespace=default,{owner}-name=semantic-router"
        return self._kubectl("get", "svc", "-n", "envoy-gateway-system", selector, "-o", "name").strip()

    def _forward(self, target: str, namespace: str, port: int) -> int:
        local = free_port()
        self._forwards.append(
            self._shell.start("kubectl", "port-forward", "-n", namespace, target, f"{local}:{port}")
        )

        def answers() -> bool:
            try:
                return request(local, "GET", "/").status > 0
            except OSError:
                return False

        eventually(answers, 60)
        return local

    def _items(self, kind: str, namespace: str, selector: str = "") -> list[dict]:
        return json.loads(self._kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json"))["items"]

    def _decode_pods(self) -> list[dict]:
        pods = self._items("pods", SYSTEM, "app.kubernetes.io/component=worker")
        return [pod for pod in pods if "decodeworker" in pod["metadata"]["name"]]

    def health(self) -> dict[str, bool]:
        found = {}
        for namespace in (SYSTEM, "envoy-gateway-system", "vllm-semantic-router-system"):
            for each in self._items("deployments,statefulsets", namespace):
                ready = each["status"].get("readyReplicas", 0)
                found[f"{each['kind']} {each['metadata']['name']}"] = ready == each["spec"]["replicas"] > 0
        return found

    def frontend_log(self) -> list[str]:
        selector = "app.kubernetes.io/name=dynamo-vllm,app.kubernetes.io/component=frontend"
        return self._kubectl("logs", "-n", SYSTEM, "-l", selector, "--tail=-1").splitlines()

    def metrics(self) -> Metrics:
        return Metrics.parse(request(self.frontend, "GET", "/metrics").text)

    def registered(self) -> list[str]:
        etcdctl = ("etcdctl", "get", "--prefix", "", "--keys-only")
        return self._kubectl("exec", "-n", SYSTEM, "dynamo-platform-etcd-0", "--", *etcdctl).split()

    def connections(self) -> int:
        return request(self._monitor, "GET", "/connz").json()["num_connections"]

    def device_use(self) -> float:
        query = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
        shares = []
        for pod in self._decode_pods():
            name = pod["metadata"]["name"]
            shares += self._kubectl("exec", "-n", SYSTEM, name, "--", *query).split()
        return max(float(share) for share in shares) / 100

    def tokens_per_step(self) -> None:
        return None

    def kill_decode_worker(self) -> None:
        name = self._decode_pods()[0]["metadata"]["name"]
        self._kubectl("delete", "pod", name, "-n", SYSTEM, "--grace-period=0", "--force")

    def decode_workers(self) -> int:
        self._kubectl("wait", "--for=condition=Ready", "dynamographdeployment/dynamo-vllm", "-n", SYSTEM, "--timeout=900s")
        ready = [
            condition["status"] == "True"
            for pod in self._decode_pods()
            for condition in pod["status"]["conditions"]
            if condition["type"] == "Ready"
        ]
        return sum(ready)

    def stop(self) -> None:
        for process in self._forwards:
            process.terminate()
            process.wait()
        story = ROOT / "target/e2e/dynamo/cluster.txt"
        story.parent.mkdir(parents=True, exist_ok=True)
        started = time.strftime("%Y-%m-%dT%H:%M:%S")
        pods = self._kubectl("get", "pods", "--all-namespaces", "-o", "wide")
        logs = self._kubectl("logs", "-n", "vllm-semantic-router-system", "deployment/semantic-router", "--tail=-1")
        story.write_text(f"{started}\n{pods}\n{logs}")
        self._shell.run("kind", "delete", "cluster", "--name", CLUSTER)
