"""The Dockerfile, as far as it can be read without building it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from helm import CHARTS, GRAPH_CHART, ROOT, container, render
from test_semantic_router import main, router

FILE = ROOT / "deploy/docker/Dockerfile"


def stages() -> dict[str, str]:
    """The text of each stage by name."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", FILE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_what_is_copied_exists_and_is_sent() -> None:
    ignored = (FILE.parent / "Dockerfile.dockerignore").read_text().split()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", stages()["build"], re.MULTILINE)
    for path in " ".join(copied).split():
        assert (ROOT / path).exists(), path
        assert f"!{path}" in ignored, f"{path} is not sent to the builder"


def test_what_the_crates_include_is_copied() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", stages()["build"], re.MULTILINE)
    roots = {path.split("/")[0] for path in " ".join(copied).split()}
    for source in (ROOT / "crates").glob("*/src/**/*.rs"):
        for included in re.findall(r'include_(?:bytes|str)!\(\s*"([^"]+)"', source.read_text()):
            target = (source.parent / included).resolve().relative_to(ROOT)
            assert target.parts[0] in roots, f"{source.name} includes {target}"


def test_the_profile_and_the_toolchain_exist() -> None:
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert "dist" in cargo["profile"]
    assert "--profile dist" in stages()["build"] and "target/dist/tandem" in stages()["build"]


def test_images_run_as_the_user_that_the_charts_ask_for() -> None:
    users = {re.search(r"^USER (\d+):\d+$", text, re.MULTILINE)[1] for name, text in stages().items() if name != "build"}
    assert len(users) == 1
    (user,) = users
    for service in render(GRAPH_CHART).services.values():
        assert str(service["extraPodSpec"]["securityContext"]["runAsUser"]) == user
    pod = router().one("Deployment")["spec"]["template"]["spec"]
    assert str(pod["securityContext"]["runAsUser"]) == user


def test_charts_name_the_images_and_their_version() -> None:
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    names = {container(service)["image"] for service in render(GRAPH_CHART).services.values()}
    assert names == {f"tandem:{version}", f"tandem-vllm:{version}"}
    assert main(router())["image"] == f"tandem:{version}"
    assert {name.partition(":")[0] for name in names} == set(stages()) - {"build"}
    for chart in ("dynamo-vllm", "dynamo-crds", "dynamo-platform", "semantic-router", "semantic-router-gateway"):
        found = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
        assert str(found["appVersion"]) == version, chart


def test_no_shell_where_there_is_none() -> None:
    """The small image has no shell: nothing of ours runs one in it."""
    shell = {"/bin/sh", "sh", "bash", "/bin/bash"}
    for service in render(GRAPH_CHART, "-f", str(Path(GRAPH_CHART) / "examples/values-cpu.yaml")).services.values():
        assert container(service)["command"] == ["tandem"] and not shell & set(container(service)["command"])
