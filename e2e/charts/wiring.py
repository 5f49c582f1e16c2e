"""The pods of a release, and whether what points at them finds them."""

from __future__ import annotations

from dataclasses import dataclass

from helm import Rendered
from validation import pods_of_graph

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@dataclass(frozen=True)
class Pod:
    """A pod as its template describes it."""

    owner: str
    namespace: str
    labels: dict[str, str]
    spec: dict
    claims: frozenset[str] = frozenset()
    """Volumes that a StatefulSet makes for it."""

    def ports(self) -> dict[str, int]:
        """Named ports of all containers."""
        found = {}
        for container in self.spec["containers"]:
            for port in container.get("ports", []):
                assert port["name"] not in found, f"{self.owner}: two ports are called {port['name']}"
                found[port["name"]] = port["containerPort"]
        return found


def pods(release: Rendered, namespace: str) -> list[Pod]:
    """The pods of all workloads and graphs of a release."""
    found = []
    for each in release.objects:
        where = each["metadata"].get("namespace", namespace)
        if each["kind"] in WORKLOADS:
            template = each["spec"]["template"]
            labels = template["metadata"]["labels"]
            name = f"{each['kind']} {each['metadata']['name']}"
            if "selector" in each["spec"]:
                wanted = each["spec"]["selector"]["matchLabels"]
                assert wanted.items() <= labels.items(), f"{name} selects none of its own pods"
            claims = each["spec"].get("volumeClaimTemplates", [])
            names = frozenset(claim["metadata"]["name"] for claim in claims)
            found.append(Pod(name, where, labels, template["spec"], names))
        elif each["kind"] == "DynamoGraphDeployment":
            for service, spec in each["spec"]["services"].items():
                (pod,) = pods_of_graph(each, service, spec)
                found.append(Pod(f"graph service {service}", where, spec["labels"], pod["spec"]))
    return found


def check_wiring(release: Rendered, namespace: str) -> None:
    """Every selector finds pods, every Service and probe a port, every mount a volume."""
    every = pods(release, namespace)
    for pod in every:
        check_pod(pod)
    for each in release.objects:
        name = f"{each['kind']} {each['metadata']['name']}"
        where = each["metadata"].get("namespace", namespace)
        if each["kind"] == "Service" and "selector" in each["spec"]:
            chosen = select(every, where, each["spec"]["selector"])
            assert chosen, f"{name} selects no pod"
            for port in each["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                # A Service of several components may have ports that only some of them serve.
                assert any(
                    target in pod.ports() or target in pod.ports().values() for pod in chosen
                ), f"{name}: no pod serves {target}"
        if each["kind"] == "PodDisruptionBudget":
            assert select(every, where, each["spec"]["selector"]["matchLabels"]), f"{name} selects no pod"
        if each["kind"] == "NetworkPolicy":
            chosen = select(every, where, each["spec"]["podSelector"].get("matchLabels", {}))
            assert chosen, f"{name} selects no pod"
            for rule in each["spec"].get("ingress", []):
                for port in rule.get("ports", []):
                    assert all(
                        port["port"] in pod.ports() or port["port"] in pod.ports().values()
                        for pod in chosen
                    ), f"{name}: a pod does not serve {port['port']}"
        if each["kind"] == "ServiceMonitor":
            check_monitor(release, each, namespace)


def select(every: list[Pod], namespace: str, labels: dict[str, str]) -> list[Pod]:
    return [p for p in every if p.namespace == namespace and labels.items() <= p.labels.items()]


def check_pod(pod: Pod) -> None:
    pod.ports()
    volumes = {volume["name"] for volume in pod.spec.get("volumes", [])} | pod.claims
    used = set()
    for container in [*pod.spec["containers"], *pod.spec.get("initContainers", [])]:
        where = f"{pod.owner}, container {container['name']}"
        for mount in container.get("volumeMounts", []):
            assert mount["name"] in volumes, f"{where} mounts no volume: {mount['name']}"
            used.add(mount["name"])
        names = [variable["name"] for variable in container.get("env", [])]
        assert len(names) == len(set(names)), f"{where}: a variable is there twice"
        for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
            for action in ("httpGet", "tcpSocket", "grpc"):
                if port := container.get(kind, {}).get(action, {}).get("port"):
                    own = {p["name"]: p["containerPort"] for p in container.get("ports", [])}
                    assert port in own or port in own.values(), f"{where}: {kind} asks port {port}"
    assert volumes <= used, f"{pod.owner}: nobody mounts {volumes - used}"


def check_monitor(release: Rendered, monitor: dict, namespace: str) -> None:
    name = f"ServiceMonitor {monitor['metadata']['name']}"
    spaces = monitor["spec"].get("namespaceSelector", {}).get("matchNames")
    labels = monitor["spec"]["selector"]["matchLabels"]
    services = [
        service
        for service in release.all("Service")
        if labels.items() <= service["metadata"]["labels"].items()
        and (spaces is None or service["metadata"].get("namespace", namespace) in spaces)
    ]
    assert len(services) == 1, f"{name} selects {len(services)} Services"
    ports = {port["name"] for port in services[0]["spec"]["ports"]}
    for endpoint in monitor["spec"]["endpoints"]:
        assert endpoint["port"] in ports, f"{name}: {services[0]['metadata']['name']} has no such port"
