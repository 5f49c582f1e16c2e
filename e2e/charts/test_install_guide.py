"""Every command of the install guides: Helm's are rendered, kubectl's held against what is rendered.

The requests of the guides are sent by `e2e/profiles/test_guide.py`.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field

import pytest

from guide import GUIDES, Guide, read, words
from helm import ROOT, TOOLS, Rendered, documents, render
from seeds import OPTIONS, UPGRADES
from seeds import words as seed_words
from validation import check

CHECKED_ELSEWHERE = {"curl"}
UNCHECKED = {"docker", "echo", "kind", "nvidia-ctk", "nvidia-smi", "systemctl", "tar"}
"""Programs of the machine that a cluster is made on; only the shell's grammar is checked."""
OUTSIDE = {("envoy-gateway", "envoy-gateway-system")}
"""Deployments that are not ours."""


@dataclass
class Cluster:
    """What is in a cluster after the commands so far."""

    releases: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    objects: list[tuple[str, dict]] = field(default_factory=list)

    def add(self, namespace: str, found: Rendered | list[dict]) -> None:
        for each in found.objects if isinstance(found, Rendered) else found:
            where = each["metadata"].get("namespace", namespace)
            self.objects.append((where, each))
            if each["kind"] == "DynamoGraphDeployment":
                self.objects += [(where, made) for made in operators(each)]

    def named(self, kind: str, name: str, namespace: str) -> dict:
        found = [
            each
            for where, each in self.objects
            if (each["kind"], each["metadata"]["name"], where) == (kind, name, namespace)
        ]
        assert found, f"there is no {kind} {name} in {namespace}"
        return found[0]

    def labelled(self, kind: str, selector: str, namespace: str) -> list[dict]:
        wanted = dict(part.split("=", 1) for part in selector.split(","))
        return [
            each
            for where, each in self.objects
            if each["kind"] == kind
            and where == namespace
            and wanted.items() <= each["metadata"].get("labels", {}).items()
        ]


def operators(graph: dict) -> list[dict]:
    """Deployments, Services and pods that an operator makes of a graph."""
    found = []
    for name, service in graph["spec"]["services"].items():
        metadata = {"name": f"{graph['metadata']['name']}-{name.lower()}", "labels": service.get("labels", {})}
        port = 8000 if service["componentType"] == "frontend" else 9090
        found += [
            {"kind": "Deployment", "metadata": metadata},
            {"kind": "Pod", "metadata": metadata},
            {"kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": port}]}},
        ]
    return found


def option(args: list[str], *names: str) -> str | None:
    for name in names:
        if name in args:
            return args[args.index(name) + 1]
    return None


def helm(args: list[str], cluster: Cluster) -> None:
    action, name = args[1:3]
    namespace = option(args, "--namespace", "-n")
    assert namespace, "a namespace is missing"
    if action == "uninstall":
        assert (name, namespace) in cluster.releases, f"{name} was never installed in {namespace}"
        return
    assert action in ("install", "upgrade"), action
    chart = args[3]
    for i, arg in enumerate(args):
        if arg == "-f":
            assert (ROOT / args[i + 1]).is_file(), f"{args[i + 1]} is missing"
    if action == "upgrade":
        assert (name, namespace) in cluster.releases
    cluster.releases.setdefault((name, namespace), []).append(" ".join(args))
    if chart.startswith("oci://"):
        return
    drop = {"--create-namespace", "--wait", "--reuse-values"}
    rest = [arg for arg in args[4:] if arg not in drop]
    at = rest.index("--namespace")
    del rest[at : at + 2]
    cluster.add(namespace, render(chart, *rest, release=name, namespace=namespace))


def kubectl(args: list[str], cluster: Cluster, guide: Guide) -> None:
    action = args[1]
    namespace = option(args, "-n", "--namespace") or "default"
    if action in ("apply", "delete") and "-f" in args:
        file = option(args, "-f")
        text = guide.files.get(file) or (ROOT / file).read_text()
        for each in documents(text):
            check(each)
        if action == "apply":
            cluster.add("default", documents(text))
    elif action == "create":
        done = subprocess.run(
            [TOOLS / "kubectl", *args[1:], "--dry-run=client", "-o", "yaml"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        (made,) = documents(done.stdout)
        check(made)
    elif action in ("wait", "rollout"):
        target = args[2] if action == "wait" else args[3]
        target = next((arg for arg in args[2:] if not arg.startswith("--")), target) if action == "wait" else target
        waited(target, args, namespace, cluster)
    elif action == "logs":
        if selector := option(args, "-l"):
            assert cluster.labelled("Pod", selector, namespace), f"no pod has {selector}"
        else:
            waited(next(arg for arg in args if "/" in arg), args, namespace, cluster)
    elif action == "port-forward":
        forwarded(args, namespace, cluster)
    elif action == "exec":
        pod = next(arg for arg in args if arg.startswith("dynamo-platform"))
        cluster.named("StatefulSet", pod.removesuffix("-0"), namespace)
    else:
        assert action in ("get", "delete", "describe"), f"kubectl {action}: nobody checks this"


def waited(target: str, args: list[str], namespace: str, cluster: Cluster) -> None:
    kinds = {"deployment": "Deployment", "daemonset": "DaemonSet", "dynamographdeployment": "DynamoGraphDeployment"}
    kind, _, name = target.partition("/")
    if kind == "nodes" or (name, namespace) in OUTSIDE:
        return
    if name:
        cluster.named(kinds[kind], name, namespace)
    else:
        selector = option(args, "-l")
        assert cluster.labelled(kinds[kind], selector, namespace), f"no {kind} has {selector}"


def forwarded(args: list[str], namespace: str, cluster: Cluster) -> None:
    target, ports = [arg for arg in args[2:] if not arg.startswith("-") and arg != namespace][:2]
    port = int(ports.split(":")[1])
    if "$" in target:
        return
    kind, _, name = target.rpartition("/")
    if kind == "svc":
        served = [each["port"] for each in cluster.named("Service", name, namespace)["spec"]["ports"]]
    else:
        template = cluster.named("StatefulSet", name.removesuffix("-0"), namespace)["spec"]["template"]
        containers = template["spec"]["containers"]
        served = [each["containerPort"] for container in containers for each in container["ports"]]
    assert port in served, f"{target} does not serve {port}"


@pytest.mark.parametrize("language", GUIDES)
def test_every_command(language: str) -> None:
    guide = read(language)
    cluster = Cluster()
    assert len(guide.commands) > 60
    for command in guide.commands:
        args = words(command)
        try:
            if args[0] == "helm":
                helm(args, cluster)
            elif args[0] == "kubectl":
                kubectl(args, cluster, guide)
            elif args[0] == "make":
                makefile = (ROOT / "Makefile").read_text()
                assert re.search(rf"^{args[1]}:", makefile, re.MULTILINE)
            elif not re.match(r"^[A-Z_]+=", args[0]):
                assert args[0] in UNCHECKED | CHECKED_ELSEWHERE, f"{args[0]}: nobody checks this"
        except AssertionError as error:
            raise AssertionError(f"$ {command}\n{error}") from error


@pytest.mark.parametrize("language", GUIDES)
def test_blocks_are_shell(language: str) -> None:
    for kind, text in read(language).blocks:
        assert kind in ("bash", "text"), kind
        if kind == "bash":
            done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
            assert done.returncode == 0, f"{text}\n{done.stderr}"


def test_both_languages_say_the_same() -> None:
    english, chinese = read("en"), read("zh")
    assert english.commands == chinese.commands
    assert english.files == chinese.files
    texts = [[text for kind, text in guide.blocks if kind == "text"] for guide in (english, chinese)]
    assert texts[0] == texts[1]
    headings = [len(re.findall(r"^#+ ", guide.path.read_text(), re.MULTILINE)) for guide in (english, chinese)]
    assert headings[0] == headings[1]
    rows = [guide.path.read_text().count("\n|") for guide in (english, chinese)]
    assert rows[0] == rows[1]


def test_the_original_commands_are_all_there() -> None:
    def normal(command: str) -> list[str]:
        return [arg for arg in seed_words(command)]

    ours = [normal(command) for command in read("zh").commands if command.startswith("helm")]
    for name, command in {**OPTIONS, **UPGRADES}.items():
        assert normal(command) in ours, name


@pytest.mark.parametrize("language", GUIDES)
def test_links_lead_somewhere(language: str) -> None:
    path = GUIDES[language]
    text = path.read_text()
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = link.replace("\n", "").partition("#")
        if file:
            assert (path.parent / file).is_file(), link
        else:
            assert anchor in anchors, link


@pytest.mark.parametrize("language", GUIDES)
def test_files_and_values_that_are_named_exist(language: str) -> None:
    text = GUIDES[language].read_text()
    for path in re.findall(r"\./?(deploy/[\w./-]+)", text):
        assert (ROOT / path).exists(), path
