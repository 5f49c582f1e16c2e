"""The serving plane as processes over real etcd and NATS: one prefill worker, two decode workers,
two frontends."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster import CHAT, Cluster, body, eventually, streamed, wait_for_instances
from prompts import BLOCK_SIZE, LONG_TOKENS, long_text
from raw_http import EventStream, post
from tandem_process import MODEL

REMOTE = "dynamo_frontend_remote_prefills_total"


@pytest.fixture(scope="module")
def parts(cluster: Cluster) -> Iterator[SimpleNamespace]:
    prefill = cluster.worker("--is-prefill-worker", "--threads", "1")
    decode = [cluster.worker("--threads", "1"), cluster.worker("--threads", "1")]
    frontends = [cluster.frontend(), cluster.frontend("--request-plane", "nats")]
    for node in (prefill, *decode, *frontends):
        node.wait_until_ready()
    for frontend in frontends:
        wait_for_instances(frontend, 3)
    yield SimpleNamespace(prefill=prefill, decode=decode, frontends=frontends)


@pytest.fixture(params=[0, 1], ids=["tcp", "nats"])
def frontend(request: pytest.FixtureRequest, parts: SimpleNamespace):
    """Both ways in which requests reach workers."""
    return parts.frontends[request.param]


def test_the_keys_are_those_of_dynamo(cluster: Cluster, parts: SimpleNamespace) -> None:
    keys = cluster.keys()
    ids = {"prefill": [parts.prefill], "backend": parts.decode}
    for component, workers in ids.items():
        for worker in workers:
            assert f"v1/instances/dynamo/{component}/generate/{worker.instance}" in keys
            assert f"v1/mdc/dynamo/{component}/generate/{worker.instance}" in keys
        routers = [key for key in keys if key.startswith(f"v1/kv_routers/dynamo/{component}/")]
        assert len(routers) == 2, "one for each frontend"
    assert {key.split("/")[1] for key in keys} == {"instances", "mdc", "kv_routers"}


def test_the_records_are_those_of_dynamo(cluster: Cluster, parts: SimpleNamespace) -> None:
    worker = parts.decode[0]
    key = f"dynamo/backend/generate/{worker.instance}"
    value = cluster.etcdctl("get", f"v1/instances/{key}", "--print-value-only")
    record = json.loads(value)
    assert record["instance_id"] == int(worker.instance, 16)
    assert record["transport"] == {"nats_tcp": f"dynamo_backend.generate-{worker.instance}"}
    card = json.loads(cluster.etcdctl("get", f"v1/mdc/{key}", "--print-value-only"))
    assert card["display_name"] == MODEL
    assert card["model_type"] == "Chat | Completions"
    prefill = f"v1/mdc/dynamo/prefill/generate/{parts.prefill.instance}"
    card = json.loads(cluster.etcdctl("get", prefill, "--print-value-only"))
    assert card["model_type"] == "Prefill"


def test_nats_counts_every_process(cluster: Cluster, parts: SimpleNamespace) -> None:
    assert cluster.connections() == 5


def test_a_repeated_prompt_is_cached(frontend, parts: SimpleNamespace) -> None:
    """The check of the seeds: `cached blocks: 0` first, then more."""
    text = long_text(f"{frontend.frontend} heather")
    before = frontend.metrics().value(REMOTE, model=MODEL)
    mark = frontend.log.mark()
    first = post(frontend.frontend, CHAT, body(text)).json()
    assert first["usage"]["prompt_tokens"] in LONG_TOKENS
    cold = frontend.selections(mark)
    assert len(cold) == 2 and all(cached == 0 for _, cached in cold), cold
    assert frontend.metrics().value(REMOTE, model=MODEL) == before + 1

    def known_to(other) -> int:
        """Blocks that `other` takes for cached."""
        mark = other.log.mark()
        answer = post(other.frontend, CHAT, body(text)).json()
        assert answer["choices"][0]["message"] == first["choices"][0]["message"]
        return max(cached for _, cached in other.selections(mark))

    for other in parts.frontends:
        # Events take a moment to arrive, and every frontend hears them.
        blocks = eventually(lambda other=other: known_to(other), timeout=5)
        assert blocks >= (LONG_TOKENS.start - 1) // BLOCK_SIZE


def test_a_client_that_leaves_stops_the_work(frontend, parts: SimpleNamespace) -> None:
    running = lambda: sum(worker.figure("running_requests") for worker in parts.decode)
    with EventStream(frontend.frontend, CHAT, body("Go on", 3800, stream=True)) as stream:
        next(stream.events())
        assert running() == 1
    eventually(lambda: running() == 0, timeout=5)


def test_health_means_that_a_worker_can_serve(cluster: Cluster, parts: SimpleNamespace) -> None:
    for worker in (parts.prefill, *parts.decode):
        response = worker.get("/health")
        assert response.status == 200
        assert response.json()["status"] == "ready"
        assert response.json()["endpoints"] == {"generate": "ready"}
        assert worker.get("/live").status == 200


def test_the_order_of_starting_does_not_matter(cluster: Cluster) -> None:
    """A frontend of a namespace that nobody serves yet answers once somebody does."""
    frontend = cluster.frontend("--namespace", "later").wait_until_ready()
    assert frontend.get("/health").status == 503
    assert post(frontend.frontend, CHAT, body("Hi")).status == 503
    worker = cluster.worker("--namespace", "later", "--threads", "1").wait_until_ready()
    wait_for_instances(frontend, 1)
    assert streamed(frontend.frontend, "Hi", 4)
    worker.signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    eventually(lambda: frontend.get("/health").status == 503, timeout=LEASE_NOTICE)
    frontend.signal(signal.SIGTERM)
    assert frontend.wait(10) == 0
    assert not [key for key in cluster.keys() if "/later/" in key]


def test_a_frontend_speaks_tls(cluster: Cluster, parts: SimpleNamespace, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*make.split(), "-keyout", str(key), "-out", str(cert), *name],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    flags = ("--tls-cert-path", str(cert), "--tls-key-path", str(key))
    frontend = cluster.frontend(*flags).wait_until_ready()
    trusting = ssl.create_default_context(cafile=cert)

    def get(path: str):
        connection = http.client.HTTPSConnection(
            "127.0.0.1", frontend.frontend, timeout=10, context=trusting
        )
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    assert eventually(lambda: get("/health")[0] == 200)
    _, models = get("/v1/models")
    assert [model["id"] for model in models["data"]] == [MODEL]
    # Plain text on that port is refused, and costs nobody else anything.
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        frontend.get("/health")
    assert get("/live")[0] == 200
    frontend.stop()
    for bad in (["--tls-cert-path", str(cert)], [*flags[:3], str(cert)]):
        refused = cluster.frontend(*bad)
        assert refused.wait(10) != 0
        assert "panicked" not in refused.story()


LEASE_NOTICE = 2.0
"""Seconds in which a worker that leaves in order is forgotten: no lease has to expire."""
