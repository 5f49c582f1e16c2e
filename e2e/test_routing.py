"""Which of two workers serves a request, from the log lines that operators read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import OpenAI

from openai_client import sdk
from prompts import long_messages, user
from tandem_process import Tandem


@pytest.fixture(scope="module")
def kv(up) -> Iterator[Tandem]:
    with up("--workers", "both=2", "--router-mode", "kv") as server:
        yield server


def ask(client: OpenAI, model: str, messages: list[dict[str, str]], tokens: int = 2):
    return client.chat.completions.create(
        model=model, messages=messages, max_tokens=tokens, temperature=0
    )


def test_repeated_prompts_go_where_they_are_cached(kv: Tandem, model: str) -> None:
    topics = ["anemone", "bluebell", "clover", "daisy"]
    with sdk(kv.frontend) as client:
        mark = kv.log.mark()
        for topic in topics:
            ask(client, model, long_messages(topic))
        first = kv.selections(mark)
        mark = kv.log.mark()
        for topic in reversed(topics):
            ask(client, model, long_messages(topic))
        second = kv.selections(mark)
    assert [cached for _, cached in first] == [0, 0, 0, 0]
    assert [worker for worker, _ in second] == [worker for worker, _ in reversed(first)]
    assert all(cached >= 36 for _, cached in second), second


def test_a_cached_prompt_is_found_among_busy_workers(kv: Tandem, model: str) -> None:
    """A few short requests do not outweigh forty cached blocks."""
    with sdk(kv.frontend) as client, ThreadPoolExecutor(4) as pool:
        mark = kv.log.mark()
        ask(client, model, long_messages("foxglove"))
        ((home, _),) = kv.selections(mark)
        busy = [pool.submit(ask, client, model, user(f"Tell {i} stories."), 40) for i in range(4)]
        mark = kv.log.mark()
        ask(client, model, long_messages("foxglove"))
        assert all(one.result().usage.completion_tokens for one in busy)
    found = [(worker, cached) for worker, cached in kv.selections(mark) if cached >= 36]
    assert [worker for worker, _ in found] == [home]


def test_concurrent_prompts_spread_over_both_workers(kv: Tandem, model: str) -> None:
    topics = [f"thistle number {i}" for i in range(6)]
    mark = kv.log.mark()
    with sdk(kv.frontend) as client, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda topic: ask(client, model, long_messages(topic), 8), topics))
    workers = [worker for worker, _ in kv.selections(mark)]
    assert len(workers) == 6
    assert 2 <= workers.count(workers[0]) <= 4, f"load was not weighed: {workers}"


def test_round_robin_takes_turns(up, model: str) -> None:
    with up("--workers", "both=2", "--router-mode", "round-robin") as server:
        with sdk(server.frontend) as client:
            for _ in range(6):
                ask(client, model, user("The same question every time."))
        workers = [worker for worker, _ in server.selections()]
    assert len(workers) == 6
    assert len(set(workers)) == 2
    assert all(one != other for one, other in zip(workers, workers[1:])), workers


def test_random_uses_both_workers(up, model: str) -> None:
    """By chance one worker gets all twenty requests once in half a million runs."""
    with up("--workers", "both=2", "--router-mode", "random") as server:
        with sdk(server.frontend) as client:
            for _ in range(20):
                ask(client, model, user("The same question every time."), 1)
        workers = [worker for worker, _ in server.selections()]
    assert len(workers) == 20
    assert len(set(workers)) == 2
