"""Gateways for the tests of `tandem gateway`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_process import Gateway


@pytest.fixture(scope="session")
def start_gateway(binary, environment, cache_dir) -> Callable[..., Gateway]:
    """Starts `tandem gateway --config FILE …` on a free port; use it in a `with` block."""

    def start(config: Path, *flags: str, **variables: str) -> Gateway:
        command = ("gateway", "--config", str(config), "--host", "127.0.0.1", "--port", "0")
        command += ("--cache-dir", str(cache_dir))
        env = {**environment, **variables}
        return Gateway(binary, *command, *flags, env=env).wait_until_ready()

    return start
