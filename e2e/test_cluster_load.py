"""What frontends know of load: from the workers, and from each other."""

from __future__ import annotations

import re

from cluster import CHAT, Cluster, Crowd, body, eventually, wait_for_instances
from prompts import long_text
from raw_http import EventStream, post

FORMULA = re.compile(r"Formula .* \+ (?P<decode>[0-9.]+)$")


def test_busy_workers_are_spared_and_clients_told(cluster: Cluster) -> None:
    scope = ("--namespace", "busy")
    mock = ("--engine", "mock", "--served-model-name", "mock", "--kv-blocks", "100")
    worker = cluster.worker(*mock, *scope).wait_until_ready()
    frontend = cluster.frontend("--busy-threshold", "0.3", *scope).wait_until_ready()
    wait_for_instances(frontend, 1)
    request = body(long_text("heather"), 500, "mock", stream=True)
    with EventStream(frontend.frontend, CHAT, request) as stream:
        next(stream.events())

        def refused():
            answer = post(frontend.frontend, CHAT, body("Hi", 1, "mock"))
            return answer if answer.status == 503 else None

        answer = eventually(refused, timeout=5)
        assert "busy" in answer.error()["message"]
        assert int(answer.headers["retry-after"]) >= 1
    served = lambda: post(frontend.frontend, CHAT, body("Hi", 1, "mock")).status == 200
    eventually(served, timeout=5)
    for node in (frontend, worker):
        node.stop()


def test_frontends_tell_each_other_of_their_requests(cluster: Cluster) -> None:
    scope = ("--namespace", "replicas")
    mock = ("--engine", "mock", "--served-model-name", "mock")
    worker = cluster.worker(*mock, *scope).wait_until_ready()
    first, second, deaf = (
        cluster.frontend(*scope, *flags).wait_until_ready()
        for flags in (["--router-replica-sync"], ["--router-replica-sync"], [])
    )
    for frontend in (first, second, deaf):
        wait_for_instances(frontend, 1)

    def decode_blocks(frontend) -> float:
        """Blocks in use on the worker, as the frontend takes it, with one more request."""
        mark = frontend.log.mark()
        assert post(frontend.frontend, CHAT, body("Hi", 1, "mock")).status == 200
        found = [FORMULA.search(line) for line in frontend.log.since(mark)]
        return max(float(match["decode"]) for match in found if match)

    request = body(long_text("rowan"), 1000, "mock", stream=True)
    with EventStream(first.frontend, CHAT, request) as stream:
        next(stream.events())
        assert decode_blocks(first) >= 36
        assert decode_blocks(second) >= 36
        assert decode_blocks(deaf) < 5
    eventually(lambda: decode_blocks(second) < 5, timeout=5)
    for node in (first, second, deaf, worker):
        node.stop()


def test_without_events_the_index_is_a_guess(cluster: Cluster) -> None:
    """Approximate mode: a prompt that was sent somewhere is taken for cached there."""
    scope = ("--namespace", "guess")
    workers = [cluster.worker("--threads", "1", *scope).wait_until_ready() for _ in range(2)]
    frontend = cluster.frontend("--no-kv-events", *scope).wait_until_ready()
    wait_for_instances(frontend, 2)
    text = long_text("bracken")
    mark = frontend.log.mark()
    for _ in range(2):
        assert post(frontend.frontend, CHAT, body(text)).status == 200
    (one, cold), (two, warm) = frontend.selections(mark)
    assert (cold, one) == (0, two)
    assert warm >= 36
    for node in (frontend, *workers):
        node.stop()


def test_prompts_do_not_wait_for_a_busy_prefill_worker(cluster: Cluster) -> None:
    scope = ("--namespace", "queue")
    mock = ("--engine", "mock", "--served-model-name", "mock", *scope)
    decode = cluster.worker(*mock)
    prefill = cluster.worker(*mock, "--is-prefill-worker", "--speedup", "0.2")
    frontend = cluster.frontend(*scope)
    patient = cluster.frontend(*scope, "--enforce-disagg")
    for node in (decode, prefill, frontend, patient):
        node.wait_until_ready()
    for node in (frontend, patient):
        wait_for_instances(node, 2)

    def count(node, name: str, **labels: str) -> float:
        return node.metrics().value(f"dynamo_frontend_{name}_total", **labels)

    def ask(node, topic: str) -> None:
        texts = [long_text(f"{topic} {i}") for i in range(20)]
        with Crowd(len(texts)) as crowd:
            crowd.ask([node.frontend], texts, 2, "mock")
            crowd.results()

    # One after the other, they tell what prompts cost.
    for sentences in (10, 30, 50):
        text = long_text(f"fern {sentences}", sentences)
        assert post(frontend.frontend, CHAT, body(text, 2, "mock")).status == 200
    assert count(frontend, "remote_prefills", model="mock") == 3
    ask(frontend, "moss")
    fallbacks = count(frontend, "prefill_fallbacks", reason="queue")
    assert fallbacks >= 5
    assert count(frontend, "remote_prefills", model="mock") == 3 + 20 - fallbacks
    assert frontend.log.wait_for("WARN.*no prefill worker computes the prompt.* reason=queue")
    ask(patient, "clover")
    assert count(patient, "remote_prefills", model="mock") == 20
    for node in (frontend, patient, decode, prefill):
        node.stop()
