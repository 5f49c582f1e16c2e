"""A Kubernetes cluster for the tests of discovery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pods import Kubernetes


@pytest.fixture
def kubernetes(
    binary: Path, environment: dict[str, str], tmp_path: Path, cache_dir: Path
) -> Iterator[Kubernetes]:
    """A fresh API server; the pods that a test starts are stopped with it."""
    drop = ("POD_", "KUBE", "ETCD_", "NATS_")
    env = {name: value for name, value in environment.items() if not name.startswith(drop)}
    opened = Kubernetes(binary, env, tmp_path, cache_dir)
    yield opened
    opened.stop()
