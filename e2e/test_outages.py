"""etcd and NATS away at the same time, while hundreds of answers are being streamed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from cluster import CHAT, LEASE_TTL, Cluster, Throng, body, eventually, wait_for_instances
from prompts import long_text
from raw_http import post

IN_FLIGHT = 200
TOKENS = 30
TEXTS = [f"Tell me story number {i}." for i in range(10)]


@pytest.fixture
def outage(request: pytest.FixtureRequest) -> float:
    """Seconds that the servers are away: some lease times, or what `--outage` says."""
    return request.config.getoption("--outage") or 3.0 * LEASE_TTL


@pytest.fixture
def parts(cluster: Cluster) -> Iterator[SimpleNamespace]:
    """Two decode workers, a prefill worker, and two frontends."""
    flags = ("--engine", "mock", "--served-model-name", "mock", "--speedup", "0.1")
    workers = [cluster.worker(*flags), cluster.worker(*flags)]
    workers.append(cluster.worker(*flags, "--is-prefill-worker"))
    frontends = [cluster.frontend(), cluster.frontend("--request-plane", "nats")]
    for node in (*workers, *frontends):
        node.wait_until_ready()
    for frontend in frontends:
        wait_for_instances(frontend, 3)
    yield SimpleNamespace(workers=workers, frontends=frontends)
    for node in (*frontends, *workers):
        node.stop()


def kill(cluster: Cluster) -> None:
    cluster.etcd.kill()
    cluster.nats.kill()


def start(cluster: Cluster) -> None:
    cluster.etcd.start()
    cluster.nats.start()


def start_empty(cluster: Cluster) -> None:
    for service in (cluster.etcd, cluster.nats):
        service.forget()
        service.start()


def freeze(cluster: Cluster) -> None:
    cluster.etcd.signal(signal.SIGSTOP)
    cluster.nats.signal(signal.SIGSTOP)


def thaw(cluster: Cluster) -> None:
    cluster.etcd.signal(signal.SIGCONT)
    cluster.nats.signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("leave", "come_back"),
    [(kill, start), (kill, start_empty), (freeze, thaw)],
    ids=["killed", "emptied", "frozen"],
)
def test_an_outage_costs_no_request(
    cluster: Cluster,
    parts: SimpleNamespace,
    outage: float,
    leave: Callable[[Cluster], None],
    come_back: Callable[[Cluster], None],
) -> None:
    # Instances and model cards of the workers, and each frontend's router for either kind of them.
    eventually(lambda: len(cluster.keys()) == 3 * 3 + 2 * 2)
    keys, connections = set(cluster.keys()), cluster.connections()
    by_tcp = parts.frontends[0]
    with Throng(IN_FLIGHT, by_tcp.frontend, TEXTS, TOKENS, "mock") as throng:
        eventually(lambda: throng.done >= IN_FLIGHT, timeout=40)
        leave(cluster)
        before = throng.done
        time.sleep(outage)
        during = throng.done - before
        come_back(cluster)
        eventually(lambda: set(cluster.keys()) == keys, timeout=30)
        eventually(lambda: cluster.connections() == connections, timeout=30)
        before = throng.done
        eventually(lambda: throng.done >= before + IN_FLIGHT, timeout=40)
    assert during >= IN_FLIGHT, "new requests were served meanwhile"
    assert not throng.failures, throng.failures[:3]
    # Each text has one answer, before, during and after the outage, whole and once.
    answers = {text: throng.answers[text] for text in TEXTS}
    assert all(len(different) == 1 for different in answers.values()), answers
    for number, frontend in enumerate(parts.frontends):
        assert frontend.process.poll() is None
        text = long_text(f"{number} {leave.__name__} {come_back.__name__}")

        def cached() -> int:
            mark = frontend.log.mark()
            assert post(frontend.frontend, CHAT, body(text, model="mock")).status == 200
            return max(blocks for _, blocks in frontend.selections(mark))

        assert eventually(cached, timeout=30) >= 30, "KV events arrive again"
