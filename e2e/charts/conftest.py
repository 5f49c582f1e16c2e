"""Tests of what `deploy/` installs: rendered by real Helm, held against strict schemas."""

from __future__ import annotations

import pytest

from helm import TOOLS


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    missing = [name for name in ("helm3", "helm4", "kubectl") if not (TOOLS / name).exists()]
    assert not missing, f"{missing} are not in {TOOLS}: run make .venv-kubernetes/installed"
