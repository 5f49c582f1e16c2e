"""Envoy, routers and upstreams for the tests of `tandem router`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envoy_process import Door, Envoy
from router_process import ROUTES, Router
from tandem_process import Tandem
from upstream import Upstream

CONFIGS = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture(scope="session")
def router(start_router) -> Iterator[Router]:
    """With the built-in configuration, in front of the frontend of `tandem up`."""
    with start_router(CONFIGS / "default.yaml") as process:
        yield process
        assert process.process.poll() is None, f"the router died\n{process.story()}"


@pytest.fixture(scope="session")
def routes(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("routes") / "config.yaml"
    path.write_text(ROUTES)
    return path


@pytest.fixture(scope="session")
def chooser(start_router, routes: Path) -> Iterator[Router]:
    """With two models, in front of an upstream that tells what it was asked."""
    with start_router(routes) as process:
        yield process
        assert process.process.poll() is None, f"the router died\n{process.story()}"


@pytest.fixture(scope="session")
def envoy(
    tandem: Tandem, router: Router, chooser: Router, shared_upstream: Upstream
) -> Iterator[Envoy]:
    """One Envoy with a door for each setting."""
    mine, theirs = chooser.extproc, shared_upstream.port
    duplex = "FULL_DUPLEX_STREAMED"
    doors = {
        "seeds": Door(router.extproc, tandem.frontend),
        "buffered": Door(mine, theirs),
        "streamed": Door(mine, theirs, "STREAMED", "STREAMED"),
        "duplex": Door(mine, theirs, duplex, duplex),
        "duplex-small": Door(mine, theirs, duplex, duplex, buffer_limit=32 << 10),
    }
    with Envoy(doors) as process:
        yield process
