"""The server under test, and clients for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from cluster import Cluster
from openai_client import sdk
from pods import Kubernetes
from router_process import Router
from tandem_process import MODEL, Tandem
from upstream import Upstream

TEST_TIMEOUT = 90
CLUSTER_TIMEOUT = 900
"""Seconds more for a case in a cluster, where images are pulled and models downloaded."""


def pytest_addoption(parser: pytest.Parser) -> None:
    root = Path(__file__).resolve().parent.parent
    parser.addoption(
        "--binary", type=Path, default=root / "target/debug/tandem", help="the binary under test"
    )
    parser.addoption("--vllm", type=Path, help="environment of a real vLLM; its tests need one")
    parser.addoption(
        "--outage", type=float, help="seconds that etcd and NATS are away; some lease times if unset"
    )
    parser.addoption(
        "--profile", choices=("local", "dynamo"), default="local", help="where the cases of e2e/profiles run"
    )
    parser.addoption(
        "--write-golden", action="store_true", help="write the golden renders of the charts anew"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A terminated run tears its fixtures down like an interrupted one, so no server is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """Nothing may hang: a test that takes too long fails where it is."""

    timeout = TEST_TIMEOUT + int(item.config.getoption("--outage") or 0)
    if item.config.getoption("--profile") == "dynamo":
        timeout += CLUSTER_TIMEOUT
    if item.config.getoption("--vllm"):
        timeout += 600  # A real engine takes minutes to start.

    def expired(*_: object) -> None:
        raise TimeoutError(f"{item.name} took longer than {timeout} s")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.alarm(timeout)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A failed test shows the end of the log of every server that it used."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Tandem):
                report.sections.append((f"tandem ({name})", value.story()))
            if isinstance(value, (Cluster, Kubernetes)):
                for node in value.nodes:
                    report.sections.append((f"cluster: {node.command[1]}", node.story()))
    return report


@pytest.fixture(scope="session")
def binary(request: pytest.FixtureRequest) -> Path:
    path = request.config.getoption("--binary").resolve()
    if not path.is_file():
        pytest.exit(f"{path} does not exist; build it with `cargo build --bin tandem`", 2)
    return path


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment without what would change the server's settings."""
    prefixes = ("TANDEM_", "DYN_", "RUST_", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all servers of the run unpack the models of the binary, once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def run(binary: Path, environment: dict[str, str]) -> Callable[..., Tandem]:
    """Starts `tandem ARGS…`; use it in a `with` block."""
    return lambda *args: Tandem(binary, *args, env=environment)


@pytest.fixture(scope="session")
def up(run: Callable[..., Tandem], cache_dir: Path) -> Callable[..., Tandem]:
    """Starts `tandem up FLAGS…` on free ports and waits for it; use it in a `with` block."""
    ports = ("--port", "0", "--frontend-port", "0", "--host", "127.0.0.1")

    def start(*flags: str) -> Tandem:
        return run("up", *ports, "--cache-dir", str(cache_dir), *flags).wait_until_ready()

    return start


@pytest.fixture(scope="session")
def start_router(binary, environment, cache_dir) -> Callable[..., Router]:
    """Starts `tandem router --config FILE …` on free ports; use it in a `with` block."""
    ports = ("--port", "0", "--api-port", "0", "--metrics-port", "0", "--bind-address", "127.0.0.1")
    env = {**environment, "TANDEM_MODEL": MODEL}

    def start(config: Path, *flags: str) -> Router:
        command = ("router", "--config", str(config), *ports, "--cache-dir", str(cache_dir))
        return Router(binary, *command, *flags, env=env).wait_until_ready()

    return start


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Upstream:
    shared_upstream.reset()
    return shared_upstream


@pytest.fixture(scope="module")
def cluster(
    binary: Path,
    environment: dict[str, str],
    cache_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """Fresh etcd and NATS servers; what a test starts on them is stopped with them."""
    drop = ("ETCD_", "NATS_")
    env = {name: value for name, value in environment.items() if not name.startswith(drop)}
    opened = Cluster(binary, env, tmp_path_factory.mktemp("cluster"), cache_dir)
    yield opened
    opened.stop()


@pytest.fixture(scope="session")
def cache_model() -> Path:
    """The directory of the small chat model."""
    return Path(__file__).resolve().parent.parent / "models/tandem-nano-chat"


@pytest.fixture(scope="session")
def tandem(up: Callable[..., Tandem]) -> Iterator[Tandem]:
    """The server that most tests share: one prefill and one decode worker, as by default."""
    with up() as server:
        yield server
        assert server.process.poll() is None, f"the server died\n{server.story()}"


@pytest.fixture(params=["gateway", "frontend"])
def port(request: pytest.FixtureRequest, tandem: Tandem) -> int:
    """Both doors: through the semantic router, and around it."""
    return getattr(tandem, request.param)


@pytest.fixture
def client(port: int) -> Iterator[OpenAI]:
    """The OpenAI SDK, on both ports."""
    with sdk(port) as opened:
        yield opened


@pytest.fixture
def gateway(tandem: Tandem) -> Iterator[OpenAI]:
    with sdk(tandem.gateway) as opened:
        yield opened


@pytest.fixture
def frontend(tandem: Tandem) -> Iterator[OpenAI]:
    with sdk(tandem.frontend) as opened:
        yield opened


@pytest.fixture(scope="session")
def model() -> str:
    return MODEL

