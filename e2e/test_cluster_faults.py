"""Workers that die and services that are away, while many requests run."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from cluster import (
    CHAT,
    LEASE_TTL,
    Cluster,
    Crowd,
    Traffic,
    body,
    eventually,
    streamed,
    wait_for_instances,
)
from prompts import long_text
from raw_http import post
from tandem_process import MODEL

IN_FLIGHT = 200
TEXTS = [f"Tell me story number {i}." for i in range(20)]
MIGRATIONS = "dynamo_frontend_migrations_total"


@pytest.fixture
def mock(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[SimpleNamespace]:
    """Two mock workers that take their time, and two frontends that use them in turn."""
    plane = getattr(request, "param", "tcp")
    flags = ("--engine", "mock", "--served-model-name", "mock", "--namespace", "mock")
    workers = [cluster.worker(*flags, "--speedup", "0.5") for _ in range(2)]
    mode = ("--router-mode", "round-robin", "--namespace", "mock", "--request-plane", plane)
    frontends = [cluster.frontend(*mode) for _ in range(2)]
    for node in (*workers, *frontends):
        node.wait_until_ready()
    for frontend in frontends:
        wait_for_instances(frontend, 2)
    yield SimpleNamespace(
        workers=workers, frontends=frontends, ports=[node.frontend for node in frontends]
    )
    for node in (*frontends, *workers):
        node.stop()


def migrations(parts: SimpleNamespace) -> float:
    return sum(node.metrics().value(MIGRATIONS, model="mock") for node in parts.frontends)


def expected(parts: SimpleNamespace, tokens: int) -> dict[str, str]:
    """What each text is answered with when nothing goes wrong."""
    with Crowd(len(TEXTS)) as crowd:
        crowd.ask(parts.ports, TEXTS, tokens, "mock")
        return dict(zip(TEXTS, crowd.results(), strict=True))


def crowd_of(parts: SimpleNamespace, tokens: int) -> tuple[Crowd, list[str]]:
    texts = TEXTS * (IN_FLIGHT // len(TEXTS))
    crowd = Crowd(len(texts))
    crowd.ask(parts.ports, texts, tokens, "mock")
    return crowd, texts


def test_a_worker_killed_before_its_first_token_is_not_noticed(mock: SimpleNamespace) -> None:
    tokens = 10
    answers = expected(mock, tokens)
    victim, survivor = mock.workers
    made = victim.figure("generated_tokens_total")
    # The victim must not have come far: it is as slow as a stopped process.
    victim.signal(signal.SIGSTOP)
    crowd, texts = crowd_of(mock, tokens)
    with crowd:
        time.sleep(1.5)
        assert crowd.running() >= IN_FLIGHT // 3
        victim.kill()
        results = crowd.results()
    assert results == [answers[text] for text in texts]
    assert all(node.log.wait_for("lost a worker", timeout=1) for node in mock.frontends)
    assert made == tokens * len(TEXTS) / 2, "both workers were used"
    assert survivor.process.poll() is None


@pytest.mark.parametrize("mock", ["tcp", "nats"], indirect=True)
def test_a_worker_killed_in_mid_stream_costs_no_request_and_no_token(
    mock: SimpleNamespace,
) -> None:
    # Enough that few are done before everybody has begun.
    tokens = 150
    answers = expected(mock, tokens)
    victim, _ = mock.workers
    made = victim.figure("generated_tokens_total")
    crowd, texts = crowd_of(mock, tokens)
    # Its first answers are far, and on a slow machine its last requests have only just come.
    amid = lambda: (
        victim.figure("generated_tokens_total") > made + 1500
        and victim.figure("running_requests") >= IN_FLIGHT // 3
    )
    with crowd:
        eventually(amid, timeout=30)
        victim.kill()
        results = crowd.results()
    assert results == [answers[text] for text in texts]
    assert migrations(mock) >= IN_FLIGHT // 3


@pytest.mark.parametrize("mock", ["tcp", "nats"], indirect=True)
def test_a_worker_that_is_asked_to_leave_finishes_its_work(
    mock: SimpleNamespace, cluster: Cluster
) -> None:
    # Long enough that a busy machine sees them while they run.
    tokens = 150
    answers = expected(mock, tokens)
    leaver, _ = mock.workers
    crowd, texts = crowd_of(mock, tokens)
    with crowd:
        eventually(lambda: leaver.figure("running_requests") >= IN_FLIGHT // 3, timeout=30)
        leaver.signal(signal.SIGTERM)
        gone = lambda: not any(leaver.instance in key for key in cluster.keys())
        eventually(gone, timeout=5)
        assert leaver.process.poll() is None, "it left with requests in flight"
        # New requests go elsewhere.
        assert streamed(mock.ports[0], TEXTS[0], 5, "mock")
        results = crowd.results()
        assert leaver.wait(20) == 0
    assert results == [answers[text] for text in texts]
    assert migrations(mock) == 0


@pytest.mark.parametrize("plane", ["tcp", "nats"])
def test_a_worker_that_hangs_is_given_up_when_its_lease_is_gone(
    cluster: Cluster, plane: str
) -> None:
    """A process that is stopped, not killed: its connections stay open, and new ones are made."""
    scope = ("--namespace", f"hang-{plane}")
    flags = ("--engine", "mock", "--served-model-name", "mock")
    workers = [cluster.worker(*flags, *scope).wait_until_ready() for _ in range(2)]
    mode = ("--router-mode", "round-robin", "--stall-timeout", "1", "--request-plane", plane)
    frontend = cluster.frontend(*mode, *scope).wait_until_ready()
    wait_for_instances(frontend, 2)
    tokens = 200
    with Crowd(len(TEXTS)) as crowd:
        crowd.ask([frontend.frontend], TEXTS, tokens, "mock")
        answers = crowd.results()
    victim = workers[0]
    made = victim.figure("generated_tokens_total")
    with Crowd(2 * len(TEXTS)) as crowd:
        crowd.ask([frontend.frontend], TEXTS, tokens, "mock")
        eventually(lambda: victim.figure("generated_tokens_total") > made + 100)
        victim.signal(signal.SIGSTOP)
        crowd.ask([frontend.frontend], TEXTS, tokens, "mock")
        assert crowd.results() == 2 * answers
    assert frontend.metrics().value(MIGRATIONS, model="mock") >= len(TEXTS) // 3
    victim.kill()
    for node in (frontend, workers[1]):
        node.stop()


def test_the_embedded_engine_goes_on_where_another_stopped(cluster: Cluster) -> None:
    """Real arithmetic: greedy answers do not change when their worker is killed."""
    flags = ("--namespace", "real", "--threads", "1")
    workers = [cluster.worker(*flags), cluster.worker(*flags)]
    prefill = cluster.worker("--is-prefill-worker", *flags)
    frontend = cluster.frontend("--namespace", "real", "--router-mode", "round-robin")
    for node in (*workers, prefill, frontend):
        node.wait_until_ready()
    wait_for_instances(frontend, 3)
    texts = [*TEXTS[:8], long_text("willow"), long_text("rowan")]
    ports = [frontend.frontend]
    tokens = 120
    with Crowd(len(texts)) as crowd:
        crowd.ask(ports, texts, tokens)
        answers = crowd.results()
    before = workers[0].figure("generated_tokens_total")
    with Crowd(len(texts)) as crowd:
        crowd.ask(ports, texts, tokens)
        eventually(lambda: workers[0].figure("generated_tokens_total") > before + 50, timeout=30)
        workers[0].kill()
        prefill.kill()
        assert crowd.results() == answers
    assert frontend.metrics().value(MIGRATIONS, model=MODEL) >= 1
    # A prefill worker that is gone is replaced by the decode worker's own work.
    assert streamed(frontend.frontend, long_text("bracken"), 8)
    for node in (frontend, workers[1]):
        node.stop()


def test_etcd_may_be_away_for_longer_than_a_lease(cluster: Cluster) -> None:
    scope = ("--namespace", "etcd")
    worker = cluster.worker("--threads", "1", *scope).wait_until_ready()
    frontend = cluster.frontend(*scope).wait_until_ready()
    wait_for_instances(frontend, 1)
    registered = lambda: {key for key in cluster.keys() if "/etcd/" in key}
    keys = registered()
    assert len(keys) == 4
    with Traffic(frontend.frontend) as traffic:
        cluster.etcd.kill()
        time.sleep(4 * LEASE_TTL)
        cluster.etcd.start()
        time.sleep(2 * LEASE_TTL)
    assert len(traffic.answers) > 50 and not traffic.failures()
    assert registered() == keys, "everything is registered as before"
    # News arrive again.
    second = cluster.worker("--threads", "1", *scope).wait_until_ready()
    wait_for_instances(frontend, 2)
    for node in (worker, second):
        node.kill()
    wait_for_instances(frontend, 0)
    frontend.stop()


def test_nats_may_be_away(cluster: Cluster) -> None:
    scope = ("--namespace", "nats")
    worker = cluster.worker("--threads", "1", *scope).wait_until_ready()
    frontend = cluster.frontend(*scope).wait_until_ready()
    wait_for_instances(frontend, 1)
    connections = cluster.connections()
    with Traffic(frontend.frontend) as traffic:
        cluster.nats.kill()
        time.sleep(6)
        cluster.nats.start()
        eventually(lambda: cluster.connections() == connections)
        time.sleep(2)
    assert len(traffic.answers) > 50 and not traffic.failures()
    text = long_text("juniper")

    def cached() -> int:
        mark = frontend.log.mark()
        assert post(frontend.frontend, CHAT, body(text)).status == 200
        return max(blocks for _, blocks in frontend.selections(mark))

    assert eventually(cached, timeout=30) >= 30, "KV events arrive again"
    for node in (frontend, worker):
        node.stop()
