"""The serving plane on Kubernetes, with neither etcd nor NATS."""

from __future__ import annotations

import json
import re

import pytest

from cluster import CHAT, Traffic, body, eventually, wait_for_instances
from pods import Kubernetes, Pod
from prompts import long_text
from raw_http import EventStream, post
from tandem_process import MODEL

FORMULA = re.compile(r"Formula .* \+ (?P<decode>[0-9.]+)$")


def graph(kubernetes: Kubernetes, *flags: str) -> tuple[Pod, list[Pod]]:
    """A frontend that knows two workers."""
    workers = [kubernetes.worker(f"worker-{number}") for number in range(2)]
    frontend = kubernetes.frontend("frontend", *flags)
    for pod in (*workers, frontend):
        pod.wait_until_ready()
    wait_for_instances(frontend, 2)
    return frontend, workers


def ask(frontend: Pod, text: str) -> tuple[str, int]:
    """Who was asked, and how many blocks were taken to be cached there."""
    mark = frontend.log.mark()
    answer = post(frontend.frontend, CHAT, body(text, 2))
    assert answer.status == 200, answer
    # The log may be a moment late.
    return eventually(lambda: frontend.selections(mark))[-1]


def test_requests_go_where_the_prompt_is_cached(kubernetes: Kubernetes) -> None:
    frontend, workers = graph(kubernetes)
    text = long_text("heather")
    assert ask(frontend, text)[1] == 0
    assert eventually(lambda: ask(frontend, text)[1] >= 36), "KV events arrive"
    assert ask(frontend, text)[1] >= 36
    # Registrations have the form of Dynamo.
    for worker in workers:
        data = kubernetes.registration(worker)
        path = f"dynamo/backend/generate/{worker.instance}"
        assert data["endpoints"][path]["type"] == "Endpoint"
        assert data["endpoints"][path]["instance_id"] == int(worker.instance, 16)
        assert data["model_cards"][path]["card_json"]["display_name"] == MODEL
        channels = [it for it in data["event_channels"] if "/topic/kv-events/" in it]
        assert channels and "tcp://127.0.0.1:" in json.dumps(data["event_channels"][channels[0]])
    assert any("v1/kv_routers/" in it for it in kubernetes.registration(frontend)["tandem"])


def test_workers_come_and_go(kubernetes: Kubernetes) -> None:
    frontend, (killed, left) = graph(kubernetes)
    with Traffic(frontend.frontend) as traffic:
        killed.kill()
        wait_for_instances(frontend, 1)
        # What it has registered is there until its pod is deleted.
        assert kubernetes.registration(killed)
        kubernetes.delete(killed)
        assert kubernetes.registration(killed) is None
        again = kubernetes.worker(killed.name).wait_until_ready()
        wait_for_instances(frontend, 2)
        assert again.instance == killed.instance, "an instance is named after its pod"
        left.stop()
        assert kubernetes.registration(left) is None
        wait_for_instances(frontend, 1)
        ask(frontend, "Hi")
    assert traffic.answers and not traffic.failures(), traffic.failures()[0]


@pytest.mark.parametrize("history", ["kept", "lost"])
def test_an_api_server_that_is_away_costs_no_request(kubernetes: Kubernetes, history: str) -> None:
    frontend, workers = graph(kubernetes)
    with Traffic(frontend.frontend) as traffic:
        kubernetes.api.stop()
        if history == "lost":
            kubernetes.api.compact()
        late = kubernetes.worker("worker-2")
        waits = late.log.wait_for("waiting for the Kubernetes API", timeout=60)
        assert waits, late.story()
        assert len(frontend.get("/health").json()["instances"]) == 2
        workers[0].kill()
        ask(frontend, "Hi")
        kubernetes.api.start()
        late.wait_until_ready()

        def known() -> bool:
            instances = json.dumps(frontend.get("/health").json()["instances"])
            survivors = (workers[1], late)
            gone = str(int(workers[0].instance, 16)) not in instances
            return gone and all(str(int(pod.instance, 16)) in instances for pod in survivors)

        eventually(known, timeout=30)
    assert traffic.answers and not traffic.failures(), traffic.failures()[0]


def test_frontends_tell_each_other_of_their_requests(kubernetes: Kubernetes) -> None:
    kubernetes.worker("worker").wait_until_ready()
    names = ("frontend-0", "frontend-1")
    first, second = (kubernetes.frontend(name, "--router-replica-sync") for name in names)
    for frontend in (first, second):
        frontend.wait_until_ready()
        wait_for_instances(frontend, 1)

    def decode_blocks() -> float:
        """Blocks in use on the worker, as the second frontend takes it, with one more request."""
        mark = second.log.mark()
        ask(second, "Hi")
        found = [FORMULA.search(line) for line in second.log.since(mark)]
        return max(float(match["decode"]) for match in found if match)

    # Nothing is kept of what the first one told before the second one listened.
    def told() -> bool:
        with EventStream(first.frontend, CHAT, request) as stream:
            next(stream.events())
            return decode_blocks() >= 36

    request = body(long_text("rowan"), 1000, stream=True)
    assert eventually(told)


@pytest.mark.parametrize("variable", ["POD_NAME", "POD_NAMESPACE", "POD_UID"])
def test_what_is_missing_of_the_pod_is_named(kubernetes: Kubernetes, variable: str) -> None:
    pod = kubernetes.worker("worker", without=variable)
    assert pod.wait(30) != 0
    assert f"{variable} is not set" in pod.story()
    assert f"fieldPath: metadata.{variable.removeprefix('POD_').lower()}" in pod.story()


def test_a_missing_role_is_named(kubernetes: Kubernetes) -> None:
    kubernetes.api.refuse("list", "endpointslices")
    pod = kubernetes.frontend("frontend")
    assert pod.wait(30) != 0
    assert 'cannot list resource "endpointslices"' in pod.story()
    assert "verbs: [list, watch]" in pod.story()
