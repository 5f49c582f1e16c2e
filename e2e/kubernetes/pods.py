"""Pods that are processes of this machine, in a Kubernetes cluster that is one API server."""

from __future__ import annotations

import http.client
import re
import threading
from pathlib import Path

from api_server import ApiServer, Key
from cluster import Node
from raw_http import request

NAMESPACE = "serving"
LABELS = {
    "nvidia.com/dynamo-discovery-backend": "kubernetes",
    "nvidia.com/dynamo-discovery-enabled": "true",
}
PROBE_EVERY = 0.1


class Pod(Node):
    """A worker or a frontend, and the pod that it runs in."""

    name: str
    uid: str

    def answers_health(self) -> bool:
        """What a readiness probe finds out."""
        lines = "\n".join(self.out.since())
        found = re.search(r"^(?:frontend|system) https?://\S+:(\d+)$", lines, re.MULTILINE)
        if found is None or self.process.poll() is not None:
            return False
        try:
            return request(int(found[1]), "GET", "/health").status == 200
        except (OSError, http.client.HTTPException):
            return False


class Kubernetes:
    """The API server, the kubelet that probes pods, and the controller that says which are ready."""

    def __init__(self, binary: Path, env: dict[str, str], directory: Path, cache: Path) -> None:
        self.binary, self.cache = binary, cache
        self.api = ApiServer()
        self.nodes: list[Pod] = []
        self.env = env | {
            "KUBECONFIG": str(self.api.kubeconfig(directory / "kubeconfig")),
            "DYN_DISCOVERY_BACKEND": "kubernetes",
            "DYN_EVENT_PLANE": "zmq",
            "POD_NAMESPACE": NAMESPACE,
            "POD_IP": "127.0.0.1",
            "ETCD_ENDPOINTS": "http://127.0.0.1:1",
            "NATS_SERVER": "nats://127.0.0.1:1",
        }
        self._stopping = threading.Event()
        self._kubelet = threading.Thread(target=self._probe, daemon=True)
        self._kubelet.start()

    def worker(self, name: str, without: str = "") -> Pod:
        """Starts a mock worker in a pod that lacks the variable `without`."""
        command = ("worker", "--engine", "mock")
        command += ("--system-host", "127.0.0.1", "--system-port", "0")
        return self._run(name, *command, "--cache-dir", str(self.cache), without=without)

    def frontend(self, name: str, *flags: str) -> Pod:
        return self._run(name, "frontend", "--http-host", "127.0.0.1", "--http-port", "0", *flags)

    def _run(self, name: str, *args: str, without: str = "") -> Pod:
        key = Key("v1", "pods", name, NAMESPACE)
        stored = self.api.store.put(key, {"apiVersion": "v1", "kind": "Pod"})
        uid = stored["metadata"]["uid"]
        env = self.env | {"POD_NAME": name, "POD_UID": uid}
        env.pop(without, None)
        pod = Pod(self.binary, *args, env=env)
        pod.name, pod.uid = name, uid
        self.nodes.append(pod)
        return pod

    def delete(self, pod: Pod) -> None:
        """Deletes a pod whose process has ended."""
        assert pod.process.poll() is not None
        self.nodes.remove(pod)
        self.api.store.delete(Key("v1", "pods", pod.name, NAMESPACE))

    def registration(self, pod: Pod) -> dict | None:
        """What the pod has registered."""
        key = Key("nvidia.com/v1alpha1", "dynamoworkermetadatas", pod.name, NAMESPACE)
        found = self.api.store.get(key)
        return found and found["spec"]["data"]

    def _probe(self) -> None:
        key = Key("discovery.k8s.io/v1", "endpointslices", "graph", NAMESPACE)
        while not self._stopping.wait(PROBE_EVERY):
            endpoints = [
                {
                    "addresses": ["127.0.0.1"],
                    "conditions": {"ready": pod.answers_health()},
                    "targetRef": {"kind": "Pod", "name": pod.name, "uid": pod.uid},
                }
                for pod in list(self.nodes)
            ]
            wanted = {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "addressType": "IPv4",
                "metadata": {"labels": LABELS},
                "endpoints": endpoints,
            }
            self.api.store.put(key, wanted)

    def stop(self) -> None:
        for node in self.nodes:
            node.process.terminate()
        for node in self.nodes:
            node.stop()
        self._stopping.set()
        self._kubelet.join(10)
        self.api.stop()
