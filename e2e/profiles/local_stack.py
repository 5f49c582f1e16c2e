"""The stack as processes of this machine: etcd, NATS, workers, frontend, router, and a real Envoy."""

from __future__ import annotations

from pathlib import Path

import yaml

from cluster import Cluster, Node, eventually, wait_for_instances
from envoy_process import Door, Envoy
from helm import CHARTS, SEEDS, render
from openmetrics import Metrics
from raw_http import request
from router_process import Router
from stack import MODEL, Stack

NAMESPACE = "dynamo-vllm"


class LocalStack(Stack):
    """What the guide installs, without a cluster; the model is the small one inside the binary."""

    name = "local"

    def __init__(self, binary: Path, environment: dict[str, str], folder: Path, cache: Path) -> None:
        self._cluster = Cluster(binary, environment, folder, cache)
        self._closing = []
        try:
            self._start(binary, environment, folder, cache)
        except BaseException:
            self.stop()
            raise

    def _start(self, binary: Path, environment: dict[str, str], folder: Path, cache: Path) -> None:
        prefill = self._worker("--is-prefill-worker")
        self._decode = [self._worker(), self._worker()]
        self._frontend = self._cluster.frontend("--namespace", NAMESPACE, "--router-mode", "kv")
        self._prefill = prefill.wait_until_ready()
        for node in (*self._decode, self._frontend):
            node.wait_until_ready()
        self.frontend = self._frontend.frontend
        wait_for_instances(self._frontend, 3)

        config = folder / "router.yaml"
        values = yaml.safe_load((SEEDS / "semantic-router-values/values.yaml").read_text())
        config.write_text(yaml.safe_dump(values["config"]))
        ports = ("--port", "0", "--api-port", "0", "--metrics-port", "0", "--bind-address", "127.0.0.1")
        command = ("router", "--config", str(config), *ports, "--cache-dir", str(cache))
        self._router = Router(binary, *command, env=environment)
        self._closing.append(self._router)
        self._router.wait_until_ready()

        mode = self._processing_mode()
        door = Door(self._router.extproc, self.frontend, mode["request"]["body"].upper(), mode["response"]["body"].upper())
        self._envoy = Envoy({"gateway": door})
        self._closing.append(self._envoy.__enter__())
        self.gateway = self._envoy.port("gateway")

    @staticmethod
    def _processing_mode() -> dict:
        """How the guide's gateway shows bodies to the router."""
        chart = CHARTS / "semantic-router-gateway"
        policy = render(chart, release="g", namespace="default").one("EnvoyExtensionPolicy")
        return policy["spec"]["extProc"][0]["processingMode"]

    def _worker(self, *flags: str) -> Node:
        return self._cluster.worker("--namespace", NAMESPACE, "--served-model-name", MODEL, *flags)

    def _alive(self) -> list[Node]:
        return [node for node in self._decode if node.process.poll() is None]

    def health(self) -> dict[str, bool]:
        nodes = {"frontend": self._frontend, "prefill worker": self._prefill}
        nodes |= {f"decode worker {i}": node for i, node in enumerate(self._decode)}
        found = {name: node.get("/health").status == 200 for name, node in nodes.items()}
        found["semantic router"] = request(self._router.api, "GET", "/ready").status == 200
        found["gateway"] = request(self.gateway, "GET", "/v1/models").status == 200
        found["etcd"] = bool(self.registered())
        found["NATS"] = self.connections() > 0
        return found

    def frontend_log(self) -> list[str]:
        return self._frontend.log.since()

    def router_log(self) -> list[str]:
        """Lines of the semantic router."""
        return self._router.log.since()

    def metrics(self) -> Metrics:
        return self._frontend.metrics()

    def registered(self) -> list[str]:
        return self._cluster.keys()

    def connections(self) -> int:
        return self._cluster.connections()

    @property
    def nats_monitor(self) -> int:
        """Port of NATS's monitor."""
        return self._cluster.monitor

    def device_use(self) -> float:
        shares = []
        for node in self._alive():
            metrics = node.metrics()
            total = metrics.value("tandem_worker_kv_total_blocks")
            shares.append(metrics.value("tandem_worker_kv_active_blocks") / total)
        return max(shares)

    def tokens_per_step(self) -> tuple[float, float] | None:
        nodes = self._alive()
        return (
            sum(node.figure("generated_tokens_total") for node in nodes),
            sum(node.figure("steps_total") for node in nodes),
        )

    def kill_decode_worker(self) -> None:
        self._alive()[0].kill()

    def decode_workers(self) -> int:
        """One that was killed comes back, as a Deployment would bring it back."""
        if len(self._alive()) < 2:
            self._decode = [*self._alive(), self._worker().wait_until_ready()]
            eventually(lambda: len(self._frontend.get("/health").json()["instances"]) == 3)
        return len(self._alive())

    def stop(self) -> None:
        for process in reversed(self._closing):
            process.__exit__(None, None, None)
        self._cluster.stop()
