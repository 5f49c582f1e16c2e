"""Either half of a deployment of NVIDIA Dynamo 0.6.1 can be ours: the real wheels drive our
workers, and our frontend drives the real mocker."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import CHAT, Cluster, Node, body, eventually, free_port, streamed
from prompts import BLOCK_SIZE, LONG_TOKENS, long_text
from raw_http import EventStream, post, request
from tandem_process import MODEL, Lines

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-dynamo/bin/python"
REMOTE = "remote_prefills_total"

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="`make .venv-dynamo/installed` installs the wheels of Dynamo"
)


class Stock:
    """A process of the real Dynamo."""

    def __init__(self, cluster: Cluster, module: str, *args: str) -> None:
        self.process = subprocess.Popen(
            [str(PYTHON), "-m", module, *args],
            env=cluster.env | {"PATH": os.environ["PATH"], "DYN_SDK_DISABLE_ANSI_LOGGING": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.log = Lines(self.process.stdout)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def mocker(cluster: Cluster, cache_model: Path) -> Iterator[Stock]:
    sizes = ("--block-size", str(BLOCK_SIZE), "--num-gpu-blocks-override", "512")
    name = ("--model-path", str(cache_model), "--model-name", "stock")
    stock = Stock(cluster, "dynamo.mocker", *name, *sizes, "--speedup-ratio", "10")
    # It registers before it can serve.
    assert stock.log.wait_for("All KV event background tasks started", timeout=30)
    yield stock
    stock.stop()


def models(port: int) -> list[str]:
    try:
        return [one["id"] for one in request(port, "GET", "/v1/models").json()["data"]]
    except OSError:
        return []


def wait_until_routed(port: int, stock: Stock, workers: int) -> None:
    """The real frontend lists a model a little before its router knows the model's workers."""
    eventually(lambda: MODEL in models(port), timeout=30)

    def known() -> bool:
        found = {line.split()[-1] for line in stock.log.since() if "Runtime config found" in line}
        return len(found) >= workers

    eventually(known, timeout=20)


@pytest.fixture
def stock_frontend(cluster: Cluster) -> Iterator[tuple[int, Stock]]:
    port = free_port()
    flags = ("--router-mode", "kv", "--http-host", "127.0.0.1", "--http-port", str(port))
    stock = Stock(cluster, "dynamo.frontend", *flags)
    yield port, stock
    stock.stop()


def test_the_real_frontend_drives_our_worker(
    cluster: Cluster, stock_frontend: tuple[int, Stock]
) -> None:
    port, stock = stock_frontend
    # That it serves the OpenAI API itself is more than the real frontend knows of.
    http = ("--http-host", "127.0.0.1", "--http-port", "0")
    worker = cluster.worker("--threads", "1", *http).wait_until_ready()
    wait_until_routed(port, stock, 1)
    text = long_text("heather")
    first = post(port, CHAT, body(text))
    assert first.status == 200, first.text
    assert first.json()["usage"]["prompt_tokens"] in LONG_TOKENS
    assert first.json()["usage"]["completion_tokens"] == 8
    assert stock.log.wait_for(r"cached blocks: 0, total blocks: 2048")

    def cached() -> bool:
        """Our KV events reach its index."""
        mark = stock.log.mark()
        again = post(port, CHAT, body(text)).json()
        assert again["choices"][0]["message"] == first.json()["choices"][0]["message"]
        return stock.log.wait_for(r"Selected.*cached blocks: 3\d", mark, timeout=1) is not None

    eventually(cached, timeout=10)
    assert streamed(port, "Tell me a story.", 30)
    # A client that leaves stops our engine.
    with EventStream(port, CHAT, body("Go on", 3800, stream=True)) as stream:
        next(stream.events())
        assert worker.figure("running_requests") == 1
    eventually(lambda: worker.figure("running_requests") == 0, timeout=5)
    worker.stop()


def test_the_real_frontend_drives_our_prefill_and_decode_workers(
    cluster: Cluster, stock_frontend: tuple[int, Stock]
) -> None:
    port, stock = stock_frontend
    prefill = cluster.worker("--is-prefill-worker", "--threads", "1").wait_until_ready()
    decode = cluster.worker("--is-decode-worker", "--threads", "1").wait_until_ready()
    wait_until_routed(port, stock, 2)
    assert stock.log.wait_for("Prefill router activated successfully", timeout=20)
    answer = post(port, CHAT, body(long_text("rowan"), 20))
    assert answer.status == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == 20
    assert decode.figure(REMOTE) == 1, "the decode worker took the blocks over"
    assert decode.figure("prefill_tokens_computed_total") <= 1
    assert prefill.figure("prefill_tokens_computed_total") in LONG_TOKENS
    for node in (prefill, decode):
        node.stop()


def wait_for_model(frontend: Node, name: str) -> None:
    """Waits until our frontend lists a model and knows a worker of it, which may come later."""
    eventually(lambda: name in models(frontend.frontend), timeout=30)
    eventually(lambda: frontend.get("/health").json()["instances"], timeout=30)


@pytest.mark.parametrize("plane", ["tcp", "nats"])
def test_our_frontend_drives_the_real_mocker(
    cluster: Cluster, mocker: Stock, plane: str
) -> None:
    frontend: Node = cluster.frontend("--request-plane", plane).wait_until_ready()
    wait_for_model(frontend, "stock")
    port, text = frontend.frontend, long_text(f"juniper {plane}")

    def cached() -> int:
        mark = frontend.log.mark()
        answer = post(port, CHAT, body(text, 10, "stock"))
        assert answer.status == 200, answer.text
        assert answer.json()["usage"]["completion_tokens"] == 10
        return max(blocks for _, blocks in frontend.selections(mark))

    assert cached() == 0
    # Its KV events reach our index.
    assert eventually(cached, timeout=10) >= 36
    assert streamed(port, "Tell me a story.", 30, "stock")
    # A client that leaves, and then the next one is served.
    with EventStream(port, CHAT, body("Go on", 3000, "stock", stream=True)) as stream:
        next(stream.events())
    eventually(
        lambda: frontend.metrics().value("dynamo_frontend_inflight_requests", model="stock") == 0
    )
    assert streamed(port, "Hi", 5, "stock")
    mocker.process.kill()
    mocker.process.wait()
    # Nobody is left to serve: an error in OpenAI's form, without internals.
    failed = post(port, CHAT, body("Hi", 5, "stock"))
    assert failed.status == 503, failed.text
    assert "traceback" not in failed.text.lower() and "nats" not in failed.text.lower()
    frontend.stop()


def test_every_rank_of_a_worker_is_used(cluster: Cluster, cache_model: Path) -> None:
    """A mocker with two data-parallel ranks: each has a cache and a queue of its own."""
    sizes = ("--block-size", str(BLOCK_SIZE), "--num-gpu-blocks-override", "512")
    name = ("--model-path", str(cache_model), "--model-name", "ranks")
    mocker = Stock(
        cluster, "dynamo.mocker", *name, *sizes, "--data-parallel-size", "2", "--speedup-ratio", "10"
    )
    try:
        assert mocker.log.wait_for("All KV event background tasks started", timeout=30)
        frontend = cluster.frontend().wait_until_ready()
        wait_for_model(frontend, "ranks")
        for topic in "abcdefgh":
            answer = post(frontend.frontend, CHAT, body(long_text(topic), 5, "ranks"))
            assert answer.status == 200, answer.text
        chosen = "\n".join(line for line in frontend.log.since() if "Selected worker" in line)
        assert "dp_rank=0" in chosen and "dp_rank=1" in chosen, chosen

        def cached() -> int:
            mark = frontend.log.mark()
            assert post(frontend.frontend, CHAT, body(long_text("a"), 5, "ranks")).status == 200
            return max(blocks for _, blocks in frontend.selections(mark))

        assert eventually(cached, timeout=10) >= 36
        frontend.stop()
    finally:
        mocker.stop()
