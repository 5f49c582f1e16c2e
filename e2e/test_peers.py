"""Workers that give their KV blocks to each other, over a real network, and what it may do to them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from cluster import CHAT, Cluster, Crowd, Node, body, eventually, wait_for_instances
from prompts import BLOCK_SIZE, LONG_TOKENS, long_text
from raw_http import post

TOKENS = 12
BLOCKS = LONG_TOKENS.start // BLOCK_SIZE - 1
"""Blocks that a long prompt has at least and that are of use."""


class Asked:
    """One answer, who gave it, and how much of its prompt was there."""

    def __init__(self, parts: SimpleNamespace, topic: str, **members: object) -> None:
        alive = [node for node in parts.workers if node.process.poll() is None]
        served = {node: node.figure("requests_total") for node in alive}
        response = post(parts.frontend.frontend, CHAT, body(long_text(topic), TOKENS, **members))
        assert response.status == 200, response.body
        answer = response.json()
        self.text = answer["choices"][0]["message"]["content"]
        self.cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        self.prompt = answer["usage"]["prompt_tokens"]
        self.by = next(node for node in alive if node.figure("requests_total") > served[node])


def taken(node: Node) -> float:
    return node.metrics().value("tandem_kv_tier_onboarded_blocks_total", tier="external")


def failures(node: Node) -> dict[str, float]:
    series = node.metrics().series("tandem_kv_tier_failures_total")
    return {dict(sample.labels)["reason"]: sample.value for sample in series}


def start(cluster: Cluster, scope: str, flags: tuple[str, ...] = ("--kv-peers",)) -> SimpleNamespace:
    """Two workers, and a frontend that does not care who has what: both are as likely."""
    here = ("--namespace", scope)
    workers = [cluster.worker(*here, "--threads", "1", *flags) for _ in range(2)]
    mode = ("--router-mode", "kv", "--kv-overlap-score-weight", "0", "--stall-timeout", "1")
    frontend = cluster.frontend(*here, *mode)
    for node in (*workers, frontend):
        node.wait_until_ready()
    wait_for_instances(frontend, 2)
    return SimpleNamespace(workers=workers, frontend=frontend)


def stop(parts: SimpleNamespace) -> None:
    for node in (parts.frontend, *parts.workers):
        node.stop()


@pytest.fixture
def sharing(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    parts = start(cluster, request.node.name.replace("_", "-")[:40])
    yield parts
    stop(parts)


@pytest.fixture(scope="module")
def expected(up) -> dict[str, str]:
    """The answers of a worker that computes every prompt."""
    answers = {}
    with up("--workers", "both=1", "--threads", "1") as server:
        for topic in ("acorn", "birch", "cedar", "dahlia"):
            answer = post(server.frontend, CHAT, body(long_text(topic), TOKENS)).json()
            assert answer["usage"]["prompt_tokens"] in LONG_TOKENS
            answers[topic] = answer["choices"][0]["message"]["content"]
    return answers


def ask_until_other(parts: SimpleNamespace, topic: str, first: Node, **members: object) -> Asked:
    """Asks until the worker answers that was not asked first."""
    for _ in range(40):
        asked = Asked(parts, topic, **members)
        if asked.by is not first:
            return asked
    raise AssertionError("the same worker was chosen forty times")


def test_a_prompt_is_computed_once_by_all_workers(
    sharing: SimpleNamespace, expected: dict[str, str]
) -> None:
    for topic, text in expected.items():
        first = Asked(sharing, topic)
        other = ask_until_other(sharing, topic, first.by)
        assert (first.text, other.text) == (text, text)
        assert other.cached >= BLOCKS * BLOCK_SIZE
    computed = sum(node.figure("prefill_tokens_computed_total") for node in sharing.workers)
    assert computed < (len(expected) + 1) * LONG_TOKENS.stop
    assert sum(map(taken, sharing.workers)) >= len(expected) * BLOCKS
    served = sum(node.figure("peer_blocks_served_total") for node in sharing.workers)
    assert served == sum(map(taken, sharing.workers))
    assert [failures(node) for node in sharing.workers] == [{}, {}]


def test_salts_keep_blocks_apart(sharing: SimpleNamespace, expected: dict[str, str]) -> None:
    first = Asked(sharing, "acorn", cache_salt="one")
    # Whoever is asked, and whoever has the same prompt with another salt.
    for salt in ("two", "three", "four"):
        salted = Asked(sharing, "acorn", cache_salt=salt)
        assert salted.text == expected["acorn"] and salted.cached < BLOCK_SIZE
    assert sum(map(taken, sharing.workers)) == 0
    same = ask_until_other(sharing, "acorn", first.by, cache_salt="one")
    assert same.text == expected["acorn"] and taken(same.by) >= BLOCKS


def test_a_worker_that_hangs_is_asked_once(
    sharing: SimpleNamespace, expected: dict[str, str]
) -> None:
    """Its connections are accepted, and nothing comes."""
    # Both have computed something, and so know how long that takes.
    first = {Asked(sharing, "acorn").by for _ in range(20)}
    assert len(first) == 2
    holder = Asked(sharing, "birch").by
    asker = next(node for node in sharing.workers if node is not holder)
    holder.signal(signal.SIGSTOP)
    try:
        # Half of them go to the one that hangs, and move on when its lease is gone.
        with Crowd(6) as crowd:
            crowd.ask([sharing.frontend.frontend], [long_text("birch")] * 6, TOKENS)
            assert crowd.results() == [expected["birch"]] * 6
    finally:
        holder.signal(signal.SIGCONT)
    assert set(failures(asker)) == {"timeout"}


def test_a_worker_that_is_killed_costs_a_computation(
    sharing: SimpleNamespace, expected: dict[str, str]
) -> None:
    holder = Asked(sharing, "cedar").by
    holder.kill()
    survivor = next(node for node in sharing.workers if node is not holder)
    answer = post(sharing.frontend.frontend, CHAT, body(long_text("cedar"), TOKENS)).json()
    assert answer["choices"][0]["message"]["content"] == expected["cedar"]
    assert set(failures(survivor)) <= {"unreachable", "disconnected"}
    eventually(lambda: len(sharing.frontend.get("/health").json()["instances"]) == 1)
    assert Asked(sharing, "dahlia").text == expected["dahlia"]


def test_nothing_is_shared_unless_both_want_it(cluster: Cluster, expected: dict[str, str]) -> None:
    parts = start(cluster, "silent", flags=())
    first = Asked(parts, "dahlia")
    other = ask_until_other(parts, "dahlia", first.by)
    assert other.text == expected["dahlia"] and other.cached < BLOCK_SIZE
    assert "kv_peer_address" not in cluster.etcdctl("get", "--prefix", "v1/mdc/silent")
    stop(parts)


def test_engines_outside_have_no_such_blocks(cluster: Cluster) -> None:
    node = cluster.worker("--engine", "vllm", "--kv-peers")
    assert node.wait(20) != 0
    assert "--kv-peers is for the engines in this binary" in node.story()
