"""Two real vLLMs on the processor, one for prompts and one for answers, under workers of ours.

`make test-vllm` installs them and runs this. The tests follow each other: the last ones end what the
first ones need. What was measured is printed with `-s`.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapter_files import write_adapter
from cluster import CHAT, Cluster, Node, body, eventually, wait_for_instances
from fleet import children, gone
from prompts import long_text
from raw_http import EventStream, Response, post

START = 600.0
BLOCK = 32
LEASE = 15
"""Seconds; ours is a third of it."""
FALLBACKS = "dynamo_frontend_prefill_fallbacks_total"


@pytest.fixture(scope="module")
def vllm(request: pytest.FixtureRequest) -> Path:
    path = request.config.getoption("--vllm")
    if path is None:
        pytest.skip("needs a real vLLM: make test-vllm")
    return path.resolve()


class Pair:
    """A prefill worker, a decode worker, a frontend that uses both, and one that does not."""

    def __init__(self, cluster: Cluster, vllm: Path, adapter: Path) -> None:
        cluster.env |= {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_HOST_IP": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            "UCX_TLS": "tcp,self,sm",
            "UCX_NET_DEVICES": "lo",
            # A test stops a process for a while, which must not cost it its lease.
            "ETCD_LEASE_TTL": "60",
        }
        started = time.monotonic()
        offline = f"env HF_HUB_OFFLINE=1 LD_PRELOAD={vllm}/lib/libiomp5.so"
        command = f"{offline} {vllm}/bin/vllm serve"
        flags = (
            *("--engine", "vllm", "--engine-command", command),
            *("--engine-args", "--dtype bfloat16"),
            *("--enforce-eager", "--block-size", str(BLOCK), "--kv-blocks", "1024"),
            *("--lora-modules", f"poet={adapter}"),
            *("--connector", "nixl", "--kv-buffer-device", "cpu", "--kv-lease", str(LEASE)),
        )
        self.prefill = cluster.worker("--is-prefill-worker", *flags)
        self.decode = cluster.worker("--is-decode-worker", *flags)
        self.frontend = cluster.frontend("--router-mode", "kv")
        self.local = cluster.frontend("--router-mode", "kv", "--max-local-prefill", "100000")
        for node in (self.prefill, self.decode):
            node.wait_until_ready(START)
        for node in (self.frontend, self.local):
            node.wait_until_ready()
            wait_for_instances(node, 2)
        print(f"\nboth engines serve after {time.monotonic() - started:.0f} s")
        for node in (self.prefill, self.decode):
            print(f"memory of an engine: {memory(node) / 2**30:.2f} GiB")

    def computed(self, node: Node) -> float:
        return node.figure("prefill_tokens_computed_total")


def memory(node: Node) -> int:
    pages = 0
    for pid in children(node.process.pid):
        pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def pair(cluster: Cluster, vllm: Path) -> Iterator[Pair]:
    yield Pair(cluster, vllm, write_adapter(cluster.directory / "poet", seed=1))


def text_of(answer: Response) -> str:
    assert answer.status == 200, answer
    return answer.json()["choices"][0]["message"]["content"]


def ask(node: Node, text: str, tokens: int = 16, **members) -> Response:
    return post(node.frontend, CHAT, body(text, tokens, **members))


def first_token(node: Node, text: str) -> float:
    """Seconds until the first token."""
    with EventStream(node.frontend, CHAT, body(text, 2, stream=True)) as stream:
        for at, chunk in stream.chunks():
            for event in chunk.decode().split("\n\n"):
                if event.startswith("data: {"):
                    choices = json.loads(event.removeprefix("data: "))["choices"]
                    if choices and choices[0]["delta"].get("content"):
                        return at
    raise AssertionError("no token came")


def test_a_prompt_is_computed_once_and_the_answer_is_the_same(pair: Pair) -> None:
    text = long_text("oak")
    # Salts keep what one run leaves from the other.
    alone = text_of(ask(pair.local, text, cache_salt="alone"))
    before = pair.computed(pair.prefill), eventually(lambda: pair.computed(pair.decode))
    started = time.monotonic()
    answer = ask(pair.frontend, text, cache_salt="apart")
    print(f"\nfirst request over both engines: {time.monotonic() - started:.2f} s")
    assert text_of(answer) == alone
    prompt = answer.json()["usage"]["prompt_tokens"]
    eventually(lambda: pair.computed(pair.prefill) == before[0] + prompt)
    assert pair.computed(pair.decode) == before[1], "the decode engine computed tokens"
    assert pair.decode.figure("remote_prefills_total") == 1
    assert pair.frontend.metrics().value(FALLBACKS) == 0


def test_a_prompt_that_is_cached_is_routed_and_answered_soon(pair: Pair) -> None:
    cold, cached = [], []
    for topic in ("elm", "ash", "fir", "yew", "rowan"):
        text = long_text(topic, 180)
        cold.append(first_token(pair.local, text))
        blocks = eventually(lambda: found(pair.local, text))
        assert blocks * BLOCK >= 2048, blocks
        cached += [first_token(pair.local, text) for _ in range(3)]
    ratio = statistics.median(cold) / statistics.median(cached)
    print(
        f"\ntime to the first token of {blocks * BLOCK} tokens and more: "
        f"{statistics.median(cold):.3f} s cold, {statistics.median(cached):.3f} s cached, {ratio:.1f}x"
    )
    assert ratio >= 5


def found(node: Node, text: str, **members) -> int:
    """Blocks of a prompt that the router finds."""
    mark = node.log.mark()
    assert ask(node, text, 1, **members).status == 200
    return max(blocks for _, blocks in node.selections(mark))


def test_an_adapter_is_a_model_of_its_own(pair: Pair) -> None:
    text = long_text("rose")
    plain = text_of(ask(pair.local, text))
    assert found(pair.local, text, model="poet") == 0, "blocks of the model are none of the adapter's"
    eventually(lambda: found(pair.local, text, model="poet") > 0)
    adapted = text_of(ask(pair.local, text, model="poet", cache_salt="alone"))
    assert adapted != plain
    remote = pair.decode.figure("remote_prefills_total")
    assert text_of(ask(pair.frontend, text, model="poet", cache_salt="apart")) == adapted
    assert pair.decode.figure("remote_prefills_total") == remote + 1


def test_blocks_are_not_read_after_the_lease(pair: Pair) -> None:
    text = long_text("thorn")
    alone = text_of(ask(pair.local, text, cache_salt="alone"))
    remote = pair.decode.figure("remote_prefills_total")
    prefilled = pair.computed(pair.prefill)
    with ThreadPoolExecutor(1) as pool:
        pair.decode.signal(signal.SIGSTOP)
        try:
            answer = pool.submit(ask, pair.frontend, text, cache_salt="late")
            eventually(lambda: pair.computed(pair.prefill) > prefilled, timeout=60)
            since = time.monotonic()
            eventually(lambda: time.monotonic() > since + LEASE / 3 + 1)
        finally:
            pair.decode.signal(signal.SIGCONT)
        assert text_of(answer.result()) == alone
    assert pair.decode.figure("remote_prefills_total") == remote
    assert pair.decode.log.wait_for("lease_expired")


def test_an_engine_that_is_killed_is_started_again(pair: Pair) -> None:
    text = long_text("oak")
    same = text_of(ask(pair.local, text))
    title = lambda pid: Path(f"/proc/{pid}/cmdline").read_bytes()
    (victim,) = [pid for pid in children(pair.decode.process.pid) if b"VLLM::Worker" in title(pid)]
    started = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    known = lambda: len(pair.frontend.get("/health").json()["instances"])
    # Without a worker for answers, the model is not served at all.
    eventually(lambda: known() == 0, timeout=60)
    print(f"\nmissed after {time.monotonic() - started:.1f} s")
    eventually(lambda: known() == 2, timeout=START)
    print(f"serves again after {time.monotonic() - started:.0f} s")
    assert found(pair.local, text) == 0, "the new engine has nothing"
    assert text_of(ask(pair.local, text)) == same
    assert text_of(ask(pair.frontend, long_text("pine")))


def test_a_worker_that_is_killed_takes_its_engine_along(pair: Pair) -> None:
    below = children(pair.prefill.process.pid)
    assert len(below) >= 3
    started = time.monotonic()
    pair.prefill.kill()
    for pid in below:
        gone(pid)
    print(f"\n{len(below)} processes gone after {time.monotonic() - started:.2f} s")
    assert text_of(ask(pair.frontend, long_text("palm")))


def test_a_worker_that_leaves_cuts_no_answer(pair: Pair) -> None:
    below = children(pair.decode.process.pid)
    asked = body("A lake", 200, stream=True)
    with EventStream(pair.frontend.frontend, CHAT, asked) as stream:
        events = stream.events()
        next(events)
        started = time.monotonic()
        pair.decode.signal(signal.SIGTERM)
        *_, last, done = events
    assert done == "[DONE]"
    assert json.loads(last)["choices"][0]["finish_reason"] == "length"
    assert pair.decode.wait(60) == 0
    for pid in below:
        gone(pid)
    print(f"\nleft after {time.monotonic() - started:.1f} s")
