"""The pods of a graph as processes: arguments, environment and probes as rendered, against real servers."""

from __future__ import annotations

from pathlib import Path

from cluster import Cluster, Node, eventually, free_port
from helm import GRAPH_CHART, container, environment, render
from raw_http import post, request

PORTS = {"http": "DYN_HTTP_PORT", "system": "DYN_SYSTEM_PORT"}


class Pod:
    """A service of the graph that runs on loopback, on free ports in place of its own."""

    def __init__(self, cluster: Cluster, service: dict, namespace: str, folder: Path) -> None:
        self.service = service
        self.main = container(service)
        (port,) = self.main["ports"]
        self.port = free_port()
        env = {name: value for name, value in environment(self.main).items() if isinstance(value, str)}
        # What the cluster and the operator would give it.
        env |= {
            "DYN_NAMESPACE": namespace,
            PORTS[port["name"]]: str(self.port),
            "HOME": str(folder),
            "TANDEM_CACHE_DIR": str(folder),
            **{name: cluster.env[name] for name in ("ETCD_ENDPOINTS", "NATS_SERVER", "DYN_TCP_RPC_HOST")},
        }
        args = [str(self.port) if arg == str(port["containerPort"]) else arg for arg in self.main["args"]]
        self.node = Node(cluster.binary, *args, env={**cluster.env, **env})
        cluster.nodes.append(self.node)

    def answers(self, probe: str) -> bool:
        """Whether a probe succeeds now."""
        where = self.service.get(probe) or self.main[probe]
        assert where["httpGet"]["port"] == self.main["ports"][0]["name"]
        try:
            return request(self.port, "GET", where["httpGet"]["path"]).status == 200
        except OSError:
            return False


def test_pods_become_ready_and_serve(cluster: Cluster, cache_dir: Path) -> None:
    services = render(GRAPH_CHART, "-f", f"{GRAPH_CHART}/examples/values-cpu.yaml").services
    pods = {
        name: Pod(cluster, service, service["dynamoNamespace"], cache_dir)
        for name, service in services.items()
    }
    frontend = pods["Frontend"]
    for name, pod in pods.items():
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            eventually(lambda pod=pod, probe=probe: pod.answers(probe), 60)
        assert pod.node.process.poll() is None, f"{name}\n{pod.node.story()}"
    (model,) = request(frontend.port, "GET", "/v1/models").json()["data"]
    body = {"model": model["id"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    eventually(lambda: post(frontend.port, "/v1/chat/completions", body).status == 200, 60)


def test_a_frontend_without_workers_lives_and_is_not_ready(cluster: Cluster, cache_dir: Path) -> None:
    service = render(GRAPH_CHART).services["Frontend"]
    pod = Pod(cluster, service, "nobody", cache_dir)
    eventually(lambda: pod.answers("livenessProbe"), 60)
    assert not pod.answers("readinessProbe")
