"""Prefill and decode workers with engines outside: vLLM, SGLang and TensorRT-LLM, all of them fakes."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import CHAT, body, eventually
from fleet import Fleet, Served, gone
from prompts import long_text
from raw_http import EventStream, Response, post

PREFILL, DECODE = "--is-prefill-worker", "--is-decode-worker"
NIXL = ("--connector", "nixl")
REMOTE = "dynamo_frontend_remote_prefills_total"
FALLBACKS = "dynamo_frontend_prefill_fallbacks_total"
GARBAGE = 299


def text_of(answer: Response) -> str:
    assert answer.status == 200, answer
    return answer.json()["choices"][0]["message"]["content"]


def expected(fleet: Fleet, dialect: str, text: str, tokens: int) -> str:
    """What one worker alone answers."""
    alone = Fleet(fleet.cluster, fleet.directory)
    try:
        worker, frontend = alone.launch(dialect), alone.frontend()
        alone.ready(frontend, worker)
        return text_of(post(frontend.frontend, CHAT, body(text, tokens)))
    finally:
        alone.stop()


class Pair:
    """A prefill worker, decode workers and a frontend."""

    def __init__(
        self, fleet: Fleet, dialect: str = "vllm", *flags: str, decoders: int = 1, args: str = ""
    ) -> None:
        self.prefill = fleet.launch(dialect, PREFILL, *NIXL, *flags)
        self.decoders = [
            fleet.launch(dialect, DECODE, *NIXL, *flags, args=args) for _ in range(decoders)
        ]
        self.decode = self.decoders[0]
        self.frontend = fleet.frontend("--router-mode", "kv")
        fleet.ready(self.frontend, self.prefill, *self.decoders)

    def ask(self, text: str, tokens: int = 8, **members) -> Response:
        return post(self.frontend.frontend, CHAT, body(text, tokens, **members))

    def fallbacks(self, **labels: str) -> float:
        return self.frontend.metrics().value(FALLBACKS, **labels)

    def computed(self, worker: Served) -> int:
        return worker.engine.state("counts")["local_compute"]

    def lose_prefill(self) -> None:
        engine = self.prefill.engine.pid
        self.prefill.node.kill()
        gone(engine)

    def prefilled(self) -> bool:
        state = self.prefill.engine("state")
        return bool(state["bodies"]) and not state["running"]


def test_a_prompt_is_computed_once(fleet: Fleet) -> None:
    text = long_text("oak")
    same = expected(fleet, "vllm", text, 8)
    pair = Pair(fleet)
    answer = pair.ask(text)
    assert text_of(answer) == same
    prompt = answer.json()["usage"]["prompt_tokens"]
    assert pair.computed(pair.prefill) == prompt
    assert pair.decode.engine.state("counts") == {
        "local_compute": 0,
        "local_cache_hit": 0,
        "external_kv_transfer": prompt,
    }
    (first,) = pair.prefill.engine.state("bodies")
    # In parts, what is handed over would be lost.
    assert first["stream"] is False and first["sampling_params"]["max_tokens"] == 1
    assert first["kv_transfer_params"]["do_remote_decode"] is True
    (second,) = pair.decode.engine.state("bodies")
    assert second["stream"] is True and second["sampling_params"]["max_tokens"] == 8
    assert second["kv_transfer_params"]["do_remote_prefill"] is True
    assert second["kv_transfer_params"]["remote_num_tokens"] == prompt
    assert pair.frontend.metrics().value(REMOTE) == 1 and pair.fallbacks() == 0
    assert pair.decode.node.figure("remote_prefills_total") == 1


def test_blocks_are_not_read_after_our_lease(fleet: Fleet) -> None:
    """The engine would read what then stands in their place, and say nothing."""
    text = long_text("elm")
    same = expected(fleet, "vllm", text, 8)
    pair = Pair(fleet, "vllm", "--kv-lease", "3")
    with ThreadPoolExecutor(1) as pool:
        pair.decode.node.signal(signal.SIGSTOP)
        try:
            answer = pool.submit(pair.ask, text)
            eventually(pair.prefilled)
            since = time.monotonic()
            eventually(lambda: time.monotonic() > since + 1.5)
        finally:
            pair.decode.node.signal(signal.SIGCONT)
        assert text_of(answer.result()) == same
    assert pair.decode.engine.state("pulls") == []
    assert pair.decode.node.figure("remote_prefill_fallbacks_total") == 1
    assert pair.decode.node.log.wait_for("lease_expired")


def test_a_prefill_engine_that_is_gone_costs_a_computation(fleet: Fleet) -> None:
    text = long_text("ash")
    same = expected(fleet, "vllm", text, 8)
    pair = Pair(fleet)
    with ThreadPoolExecutor(1) as pool:
        pair.decode.node.signal(signal.SIGSTOP)
        try:
            answer = pool.submit(pair.ask, text)
            eventually(pair.prefilled)
            pair.lose_prefill()
        finally:
            pair.decode.node.signal(signal.SIGCONT)
        assert text_of(answer.result()) == same
    assert pair.computed(pair.decode) > 0


def test_an_engine_that_fails_for_want_of_blocks_is_asked_to_compute(fleet: Fleet) -> None:
    """With vLLM's own policy, `fail`, which a user may insist on."""
    text = long_text("beech")
    same = expected(fleet, "vllm", text, 8)
    config = '{"kv_connector":"NixlConnector","kv_role":"kv_consumer"}'
    pair = Pair(fleet, args=f"--kv-transfer-config '{config}'")
    with ThreadPoolExecutor(1) as pool:
        pair.decode.node.signal(signal.SIGSTOP)
        try:
            answer = pool.submit(pair.ask, text)
            eventually(pair.prefilled)
            pair.lose_prefill()
        finally:
            pair.decode.node.signal(signal.SIGCONT)
        assert text_of(answer.result()) == same
    with_blocks, without = pair.decode.engine.state("bodies")
    assert "kv_transfer_params" in with_blocks and "kv_transfer_params" not in without
    assert pair.decode.node.log.wait_for("KV load failure")


def test_what_was_handed_over_is_not_handed_over_twice(fleet: Fleet) -> None:
    """The worker that is lost may have read the blocks, and with that freed them."""
    text = long_text("cedar")
    same = expected(fleet, "vllm", text, 8)
    pair = Pair(fleet, decoders=2)
    mark = pair.frontend.log.mark()
    with ThreadPoolExecutor(1) as pool:
        for worker in pair.decoders:
            worker.node.signal(signal.SIGSTOP)
        answer = pool.submit(pair.ask, text)
        eventually(lambda: len(pair.frontend.selections(mark)) >= 2)
        eventually(pair.prefilled)
        chosen = f"{int(pair.frontend.selections(mark)[-1][0]):x}"
        (lost,) = [worker for worker in pair.decoders if worker.node.instance == chosen]
        (other,) = [worker for worker in pair.decoders if worker is not lost]
        lost.node.kill()
        other.node.signal(signal.SIGCONT)
        assert text_of(answer.result()) == same
    assert len(pair.prefill.engine.state("bodies")) == 2
    assert len(other.engine.state("pulls")) == 1


def test_without_a_connector_decode_workers_compute(fleet: Fleet) -> None:
    prefill = fleet.launch("vllm", PREFILL, "--connector", "null")
    decode, frontend = fleet.launch("vllm", DECODE), fleet.frontend()
    fleet.ready(frontend, prefill, decode)
    assert post(frontend.frontend, CHAT, body(long_text("fir"))).status == 200
    assert decode.engine.state("counts")["local_compute"] > 0


def test_sglangs_parts_are_started_at_once_and_meet(fleet: Fleet) -> None:
    text = long_text("oak")
    same = expected(fleet, "sglang", text, 8)
    pair = Pair(fleet, "sglang")
    assert text_of(pair.ask(text)) == same
    assert pair.ask(long_text("yew")).status == 200
    firsts, seconds = (one.engine.state("bodies") for one in (pair.prefill, pair.decode))
    rooms = [first["bootstrap_room"] for first in firsts]
    assert rooms == [second["bootstrap_room"] for second in seconds]
    assert len(set(rooms)) == 2 and max(rooms) < 1 << 63
    assert seconds[0]["bootstrap_host"] == "127.0.0.1"
    assert [first["sampling_params"]["max_new_tokens"] for first in firsts] == [1, 1]
    assert pair.decode.engine.state("computed") == 0
    assert pair.prefill.engine.state("computed") > 0
    assert pair.frontend.metrics().value(REMOTE) == 2


def test_a_prompt_that_sglangs_prefill_engine_refuses_is_the_decode_workers(fleet: Fleet) -> None:
    text = long_text("ash")
    same = expected(fleet, "sglang", text, 8)
    pair = Pair(fleet, "sglang")
    pair.prefill.engine.set(refuse=True)
    assert text_of(pair.ask(text)) == same
    assert pair.fallbacks(reason="call_failed") == 1
    assert pair.decode.engine.state("computed") > 0


def test_a_client_that_leaves_ends_both_parts(fleet: Fleet) -> None:
    pair = Pair(fleet, "sglang")
    pair.prefill.engine.set(delay=30)
    pair.decode.engine.set(delay=0.05)
    asked = body(long_text("fir"), 2000, stream=True)
    with EventStream(pair.frontend.frontend, CHAT, asked):
        for worker in (pair.prefill, pair.decode):
            assert worker.engine.state("running")
    for worker in (pair.prefill, pair.decode):
        eventually(lambda: not worker.engine.state("running"))


def test_tensorrt_llms_phases_follow_each_other(fleet: Fleet) -> None:
    text = long_text("oak")
    same = expected(fleet, "trtllm", text, 8)
    pair = Pair(fleet, "trtllm", "--block-size", "32")
    assert text_of(pair.ask(text)) == same
    (first,) = pair.prefill.engine.state("bodies")
    assert first["disaggregated_params"] == {"request_type": "context_only"}
    (second,) = pair.decode.engine.state("bodies")
    said = second["disaggregated_params"]
    assert (said["request_type"], said["ctx_request_id"]) == ("generation_only", 1)
    assert pair.decode.engine.state("computed") == 0
    options = pair.decode.engine.state("options")
    assert options["cache_transceiver_config"] == {"backend": "NIXL"}
    refused = pair.ask(text, cache_salt="tenant")
    assert refused.status == 400 and "cache salt" in refused.text, refused


@pytest.mark.parametrize("dialect", ["sglang", "trtllm"])
def test_other_engines_tell_what_they_have(fleet: Fleet, dialect: str) -> None:
    worker = fleet.launch(dialect, "--block-size", "32")
    frontend = fleet.frontend("--router-mode", "kv")
    fleet.ready(frontend, worker)
    text = long_text("elm")
    assert post(frontend.frontend, CHAT, body(text)).status == 200

    def cached() -> int:
        mark = frontend.log.mark()
        assert post(frontend.frontend, CHAT, body(text)).status == 200
        return max(blocks for _, blocks in frontend.selections(mark))

    assert eventually(cached) >= 600 // 32
