"""Gateways that share answers in Redis or Milvus."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prompts import user
from raw_http import post
from store_process import MILVUS, Store
from test_errors import CHAT
from upstream import Upstream

OPERATIONS = "llm_cache_operations_total"
OPEN = "tandem_cache_circuit_open"


def config(store: Store, upstream: Upstream, deadline_ms: int) -> str:
    return f"""
version: v0.3
providers: {{models: [{{name: m, backend_refs: [{{name: s, endpoint: '127.0.0.1:{upstream.port}'}}]}}]}}
global:
  stores:
    response_cache:
      enabled: true
      backend_type: {store.kind}
      deadline_ms: {deadline_ms}
      {store.kind}: {{connection: {{host: 127.0.0.1, port: {store.port}}}}}
tandem: {{security: {{jailbreak: {{enabled: false}}, pii: {{enabled: false}}}}}}
"""


@pytest.fixture(params=["redis", "milvus"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "milvus" and not MILVUS.exists():
        pytest.skip("`make .venv-milvus/installed` installs Milvus Lite")
    store = Store(request.param, tmp_path / "store")
    yield store
    store.kill()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


def ask(gateway, text: str):
    return post(gateway.gateway, CHAT, {"model": "m", "messages": user(text)})


def is_hit(answer) -> bool:
    return answer.headers.get("x-vsr-cache-hit") == "true"


def test_gateways_share_answers(start_gateway, store, upstream, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    # A busy machine must not make the store late.
    file.write_text(config(store, upstream, deadline_ms=10_000))
    with start_gateway(file) as one:
        one.wait_for_count(OPEN, 0, backend=store.kind)
        first = ask(one, "What is the capital of Peru?")
        assert first.status == 200 and not is_hit(first)
        stored = {"backend": store.kind, "operation": "add_entry", "status": "success"}
        one.wait_for_count(OPERATIONS, 1, **stored)
        with start_gateway(file) as other:
            other.wait_for_count(OPEN, 0, backend=store.kind)
            similar = ask(other, "Tell me the capital of Peru, please.")
            again = ask(other, "What is the capital of Peru?")
            stranger = ask(other, "What is the capital of Chile?")
    assert is_hit(similar) and similar.body == first.body
    assert is_hit(again) and again.body == first.body
    assert not is_hit(stranger)
    assert upstream.seen.qsize() == 2


def test_a_store_that_is_killed_costs_no_request(
    start_gateway, store, upstream, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(config(store, upstream, deadline_ms=30))
    ended = threading.Event()
    answers: list[tuple[int, float]] = []

    def client(name: int) -> None:
        asked = 0
        while not ended.is_set():
            asked += 1
            begun = time.monotonic()
            status = ask(gateway, f"What is {name} times {asked}?").status
            answers.append((status, time.monotonic() - begun))

    def wait_until(gateway, is_open: int) -> None:
        # A store is tried again every ten seconds at the latest.
        gateway.wait_for_metric(
            lambda metrics: metrics.value(OPEN, backend=store.kind) == is_open, timeout=30
        )

    with start_gateway(file) as gateway:
        wait_until(gateway, is_open=0)
        clients = [threading.Thread(target=client, args=(name,)) for name in range(4)]
        for thread in clients:
            thread.start()
        try:
            store.kill()
            wait_until(gateway, is_open=1)
            store.start()
            wait_until(gateway, is_open=0)
        finally:
            ended.set()
            for thread in clients:
                thread.join()
    slowest = max(took for _, took in answers)
    print(f"{store.kind}: {len(answers)} requests, the slowest took {slowest:.3f} s")
    assert {status for status, _ in answers} == {200}
    # Beyond the deadline it is the machine that is slow.
    assert slowest < 3


def test_a_gateway_starts_without_its_store(start_gateway, store, upstream, tmp_path: Path) -> None:
    store.kill()
    file = tmp_path / "config.yaml"
    file.write_text(config(store, upstream, deadline_ms=30))
    with start_gateway(file) as gateway:
        assert gateway.log.wait_for("the cache does without its store") is not None
        assert not is_hit(ask(gateway, "What is the capital of Peru?"))
        assert is_hit(ask(gateway, "What is the capital of Peru?"))
        assert gateway.metrics().value(OPEN, backend=store.kind) == 1
