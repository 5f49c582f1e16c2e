"""One pass of the router classifies a request and picks the worker that serves it: workers, a
router and a real Envoy, which sends each request where the router says."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from cluster import CHAT, Cluster, Node, body, eventually
from conftest import CONFIGS
from envoy_process import Door, Envoy
from prompts import BLOCK_SIZE, LONG_TOKENS, long_text
from raw_http import EventStream, post, request
from router_process import Router
from tandem_process import MODEL

DESTINATION = "x-gateway-destination-endpoint"
MATH = "What is the derivative of x squared?"
AUTO = "MoM"
DOORS = ["header", "metadata"]
BUSY = long_text("gorse")
"""Whole blocks of a running request are what makes its worker look busy."""


@dataclass
class Pool:
    """Workers, and a router that picks among them, behind Envoy."""

    router: Router
    workers: list[Node]
    envoy: Envoy

    def port(self, door: str = "header") -> int:
        return self.envoy.port(door)

    def served(self) -> list[float]:
        return [worker.figure("requests_total") for worker in self.workers]


def openai_port(worker: Node) -> int:
    found = re.search(r"^openai http://127.0.0.1:(\d+)$", "\n".join(worker.out.since()), re.M)
    assert found, worker.story()
    return int(found[1])


def start_worker(cluster: Cluster, namespace: str, *flags: str) -> Node:
    http = ("--http-host", "127.0.0.1", "--http-port", "0")
    return cluster.worker("--namespace", namespace, "--threads", "1", *http, *flags)


def start_picker(cluster: Cluster, *flags: str) -> Router:
    """A router that picks endpoints; use it in a `with` block."""
    ports = ("--port", "0", "--api-port", "0", "--metrics-port", "0", "--bind-address", "127.0.0.1")
    flags = ("--epp", "--cache-dir", str(cluster.cache), *flags)
    command = ("router", "--config", str(CONFIGS / "default.yaml"), *ports, *flags)
    router = Router(cluster.binary, *command, env=cluster.env | {"TANDEM_MODEL": MODEL})
    return router.wait_until_ready()


@contextmanager
def open_pool(cluster: Cluster, namespace: str) -> Iterator[Pool]:
    """Two workers in a namespace of their own."""
    workers = [start_worker(cluster, namespace) for _ in range(2)]
    with start_picker(cluster, "--namespace", namespace) as router:
        duplex = "FULL_DUPLEX_STREAMED"
        doors = {
            "header": Door(router.extproc, None),
            "metadata": Door(router.extproc, None, duplex, duplex, picked_by="metadata"),
        }
        with Envoy(doors) as envoy:
            for worker in workers:
                worker.wait_until_ready()
            pool = Pool(router, workers, envoy)
            wait_until_picked(pool)
            yield pool


def wait_until_picked(pool: Pool) -> None:
    """Waits until the router has picked every worker: with a busy one it takes the other."""
    for _ in pool.workers:
        eventually(lambda: post(pool.port(), CHAT, body("Hi", 1)).status == 200)

    def spread() -> bool:
        with EventStream(pool.port(), CHAT, body(BUSY, 200, stream=True)) as stream:
            next(stream.events())
            assert post(pool.port(), CHAT, body("Hi", 1)).status == 200
        return all(pool.served())

    eventually(spread)


@pytest.fixture(scope="module")
def pool(cluster: Cluster) -> Iterator[Pool]:
    with open_pool(cluster, "epp") as opened:
        yield opened


@pytest.mark.parametrize("door", DOORS)
def test_a_repeated_prompt_goes_where_it_is_cached(pool: Pool, door: str) -> None:
    port, text = pool.port(door), long_text(f"heather {door}")
    first = post(port, CHAT, body(text, model=AUTO))
    assert first.status == 200, first.text
    usage = first.json()["usage"]
    assert usage["prompt_tokens"] >= LONG_TOKENS.start
    home = pool.router.selections()[-1][0]

    def cached() -> bool:
        """Events take a moment to arrive, and both workers are equally idle."""
        return post(port, CHAT, body(text, model=AUTO)) and pool.router.selections()[-1][1] > 0

    eventually(cached, timeout=5)
    for _ in range(3):
        answer = post(port, CHAT, body(text, model=AUTO)).json()
        assert answer["choices"][0]["message"] == first.json()["choices"][0]["message"]
        details = answer["usage"]["prompt_tokens_details"]
        assert details["cached_tokens"] >= LONG_TOKENS.start // BLOCK_SIZE * BLOCK_SIZE - BLOCK_SIZE
        assert pool.router.selections()[-1][0] == home


@pytest.mark.parametrize("door", DOORS)
def test_requests_at_the_same_time_are_spread(pool: Pool, door: str) -> None:
    before = pool.served()
    with EventStream(pool.port(door), CHAT, body(BUSY, 3000, stream=True)) as stream:
        next(stream.events())
        assert post(pool.port(door), CHAT, body("And you", 4)).status == 200
    gained = [now - then for now, then in zip(pool.served(), before, strict=True)]
    assert gained == [1, 1]
    # What a client left behind does not count for ever.
    running = lambda: sum(worker.figure("running_requests") for worker in pool.workers)
    eventually(lambda: running() == 0, timeout=5)


@pytest.mark.parametrize("door", DOORS)
def test_the_same_pass_classifies(pool: Pool, door: str) -> None:
    answer = post(pool.port(door), CHAT, body(MATH, model=AUTO))
    assert answer.status == 200
    assert answer.headers["x-vsr-selected-category"] == "math"
    assert answer.headers["x-vsr-selected-model"] == MODEL
    assert answer.headers["x-vsr-injected-system-prompt"] == "true"
    blocked = post(pool.port(door), CHAT, body("My SSN is 123-45-6789.", model=AUTO))
    assert blocked.json()["choices"][0]["finish_reason"] == "content_filter"


@pytest.mark.parametrize("door", DOORS)
def test_clients_cannot_choose(pool: Pool, door: str) -> None:
    for forged in ("127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2"):
        headers = {DESTINATION: forged, f"{DESTINATION}-served": forged}
        assert post(pool.port(door), CHAT, body("Hi", 2), headers).status == 200
        assert request(pool.port(door), "GET", "/live", None, headers).status == 200


@pytest.mark.parametrize("door", DOORS)
def test_streams_pass(pool: Pool, door: str) -> None:
    with EventStream(pool.port(door), CHAT, body("Go on", 40, stream=True)) as stream:
        *events, done = list(stream.events())
    assert done == "[DONE]"
    assert json.loads(events[-1])["choices"][0]["finish_reason"] == "length"
    assert len(events) > 10


@pytest.mark.parametrize("door", DOORS)
def test_wrong_requests_are_refused_before_they_reach_a_worker(pool: Pool, door: str) -> None:
    before = pool.served()
    long = post(pool.port(door), CHAT, body("word " * 20_000))
    assert long.status == 400, long.text
    assert "context length" in long.error()["message"]
    assert pool.served() == before


def test_the_gateway_may_limit_the_choice(pool: Pool) -> None:
    first = openai_port(pool.workers[0])
    subsets = {
        "endpoint": (f"127.0.0.1:{first}",),
        "host": ("10.9.9.9:80", "127.0.0.1"),
        "stranger": ("10.9.9.9:80",),
        "empty": (),
    }
    doors = {name: Door(pool.router.extproc, None, subset=each) for name, each in subsets.items()}
    with Envoy(doors) as envoy:
        ask = lambda name: post(envoy.port(name), CHAT, body("Hi", 2))
        before = pool.served()
        assert [ask("endpoint").status for _ in range(6)] == [200] * 6
        assert pool.served() == [before[0] + 6, before[1]]
        assert ask("host").status == 200
        for name in ("stranger", "empty"):
            refused = ask(name)
            assert refused.status == 503 and refused.headers["retry-after"] == "1", refused
            assert request(envoy.port(name), "GET", "/live").status == 503


def test_picks_are_counted(pool: Pool) -> None:
    name = "tandem_router_endpoint_pick_seconds_count"
    before = pool.router.count(name, result="picked")
    assert post(pool.port(), CHAT, body("Hi", 2)).status == 200
    assert pool.router.count(name, result="picked") == before + 1


def test_prefill_workers_are_used_behind_a_picker(cluster: Cluster) -> None:
    """The picked worker has its prompt computed elsewhere, as a frontend would."""
    prefill = start_worker(cluster, "split", "--is-prefill-worker").wait_until_ready()
    decode = start_worker(cluster, "split").wait_until_ready()
    other = start_worker(cluster, "split").wait_until_ready()
    assert not any(line.startswith("openai") for line in prefill.out.since())
    port = openai_port(decode)
    known = lambda: len(request(port, "GET", "/health").json()["instances"]) == 2
    eventually(known)
    answer = post(port, CHAT, body(long_text("rowan"), 20))
    assert answer.json()["usage"]["completion_tokens"] == 20, answer.text
    assert decode.figure("remote_prefills_total") == 1
    assert prefill.figure("prefill_tokens_computed_total") in LONG_TOKENS
    assert other.figure("requests_total") == 0, "a worker serves only what it was sent"
    for node in (decode, other, prefill):
        node.stop()


def test_servers_that_do_not_register_are_picked_too(cluster: Cluster, pool: Pool) -> None:
    """Neither etcd nor NATS is asked: what is cached is guessed."""
    nowhere = ("--etcd-endpoints", "http://127.0.0.1:1", "--nats-server", "nats://127.0.0.1:1")
    ports = [openai_port(worker) for worker in pool.workers]
    servers = [flag for port in ports for flag in ("--epp-endpoint", f"127.0.0.1:{port}")]
    with (
        start_picker(cluster, *nowhere, *servers) as router,
        Envoy({"door": Door(router.extproc, None)}) as envoy,
    ):
        door = envoy.port("door")
        eventually(lambda: request(door, "GET", "/live").status == 200)
        for topic in ("fern", "moss", "reed"):
            ask = lambda topic=topic: post(door, CHAT, body(long_text(topic), 2)).json()["usage"]
            assert ask()["prompt_tokens_details"]["cached_tokens"] < LONG_TOKENS.start // 2
            assert ask()["prompt_tokens_details"]["cached_tokens"] > LONG_TOKENS.start // 2
        with EventStream(door, CHAT, body(BUSY, 500, stream=True)) as stream:
            next(stream.events())
            before = pool.served()
            assert post(door, CHAT, body(long_text("sedge"), 2)).status == 200
            running = [worker.figure("running_requests") for worker in pool.workers]
            gained = [now - then for now, then in zip(pool.served(), before, strict=True)]
            assert gained == [1 - one for one in running]


def test_workers_come_and_go(cluster: Cluster) -> None:
    with open_pool(cluster, "shaky") as pool:
        leaving, staying = pool.workers
        text = long_text("bramble")
        # One leaves in order: what it has begun it finishes.
        begun = leaving.figure("requests_total")
        with EventStream(pool.port(), CHAT, body(text, 300, stream=True)) as stream:
            events = stream.events()
            next(events)
            if leaving.figure("requests_total") == begun:
                leaving, staying = staying, leaving
            leaving.signal(signal.SIGTERM)
            for _ in range(5):
                assert post(pool.port(), CHAT, body("Hi", 2)).status == 200
            *_, done = list(events)
            assert done == "[DONE]"
        assert leaving.wait(10) == 0
        # One is killed: the request that finds out fails, the next one goes elsewhere.
        third = start_worker(cluster, "shaky").wait_until_ready()

        def third_serves() -> bool:
            assert post(pool.port(), CHAT, body("Hi", 2)).status == 200
            return third.figure("requests_total") > 0

        eventually(third_serves)
        staying.kill()
        statuses = [post(pool.port(), CHAT, body(text, 2)).status for _ in range(6)]
        assert statuses[-1] == 200 and statuses.count(200) >= 5, statuses
        # Nobody is left.
        third.signal(signal.SIGTERM)
        assert third.wait(10) == 0
        refused = eventually(lambda: unavailable(pool), timeout=10)
        assert refused.headers["retry-after"] == "1"
        assert "no worker can serve" in refused.error()["message"]


def unavailable(pool: Pool):
    """The router's own refusal, once it knows that everybody is gone."""
    answer = post(pool.port(), CHAT, body("Hi", 2))
    return answer if answer.status == 503 and "retry-after" in answer.headers else None
