"""`tandem worker --engine vllm` against a fake that has the real one's habits: `fake_vllm.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import CHAT, Crowd, body, eventually, free_port, streamed
from fleet import BLOCK, HERE, Fleet, Served, children, gone
from prompts import long_text
from raw_http import EventStream, post

SLOW = "--delay 0.02"


@pytest.fixture
def one(fleet: Fleet):
    worker, frontend = fleet.launch("vllm"), fleet.frontend()
    fleet.ready(frontend, worker)
    return worker, frontend


def pair(fleet: Fleet, args: str = "", *flags: str):
    workers = [fleet.launch("vllm", *flags, args=args) for _ in range(2)]
    frontend = fleet.frontend("--router-mode", "round-robin")
    fleet.ready(frontend, *workers)
    return workers, frontend


def ask(frontend, text: str, tokens: int = 4, **members) -> dict:
    answer = post(frontend.frontend, CHAT, body(text, tokens, **members))
    assert answer.status == 200, answer
    return answer.json()


def cached_blocks(frontend, text: str, **members) -> int:
    """Blocks of a prompt that the router finds on the worker that it chooses."""
    mark = frontend.log.mark()
    ask(frontend, text, 1, **members)
    return max(blocks for _, blocks in frontend.selections(mark))


def test_tokens_go_in_and_come_out(one) -> None:
    worker, frontend = one
    answer = ask(frontend, long_text("oak"), 5)
    (sent,) = worker.engine.state("bodies")
    assert answer["usage"]["prompt_tokens"] == len(sent["token_ids"])
    assert answer["usage"]["completion_tokens"] == 5
    assert sent["sampling_params"]["max_tokens"] == 5
    assert streamed(frontend.frontend, long_text("oak"), 5) == answer["choices"][0]["message"]["content"]
    eventually(lambda: worker.node.figure("generated_tokens_total") == 10)


def test_the_flags_reach_the_engine(fleet: Fleet) -> None:
    worker = fleet.launch("vllm", "--max-model-len", "2048", "--enforce-eager", "--block-size", "64")
    worker.node.wait_until_ready()
    line = worker.node.out.wait_for("serves")
    assert line and "512 KV blocks of 64, context 2048" in line
    given = worker.engine.state("arguments")
    assert "--enforce-eager" in given and given[given.index("--max-model-len") + 1] == "2048"
    assert worker.node.log.wait_for("engine: INFO fake vLLM starts")


def test_probabilities_come_through(one) -> None:
    _, frontend = one
    answer = ask(frontend, "Hi", 2, logprobs=True, top_logprobs=1)
    content = answer["choices"][0]["logprobs"]["content"]
    assert [token["logprob"] for token in content] == [-8.25, -8.25]
    assert len(content[0]["top_logprobs"]) == 1


def test_a_prompt_goes_where_its_blocks_are(fleet: Fleet) -> None:
    workers = [fleet.launch("vllm") for _ in range(2)]
    frontend = fleet.frontend("--router-mode", "kv")
    fleet.ready(frontend, *workers)
    text = long_text("birch")
    ask(frontend, text)
    blocks = eventually(lambda: cached_blocks(frontend, text))
    assert blocks >= 600 // BLOCK
    answer = ask(frontend, text, 1)
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == blocks * BLOCK
    # All but the first went to the one that has it.
    counts = sorted(len(worker.engine.state("bodies")) for worker in workers)
    assert counts[0] == 0, counts


@pytest.mark.parametrize("events", ["", "--positional-events"])
def test_salts_keep_tenants_apart(fleet: Fleet, events: str) -> None:
    worker, frontend = fleet.launch("vllm", args=events), fleet.frontend("--router-mode", "kv")
    fleet.ready(frontend, worker)
    text = long_text("alder")
    ask(frontend, text, cache_salt="tenant-1")
    assert eventually(lambda: cached_blocks(frontend, text, cache_salt="tenant-1"))
    assert cached_blocks(frontend, text, cache_salt="tenant-2") == 0
    assert cached_blocks(frontend, text) == 0


def prompt_of(worker: Served) -> list[int]:
    return worker.engine.state("bodies")[-1]["token_ids"]


def whole_blocks(frontend, worker: Served) -> str:
    """A text whose prompt fills its blocks exactly."""
    text = long_text("maple", 4)
    for _ in range(2 * BLOCK):
        ask(frontend, text, 1)
        if len(prompt_of(worker)) % BLOCK == 0:
            return text
        text += " a"
    raise AssertionError("no text fills its blocks")


def test_a_block_is_there_until_its_last_copy_is_gone(fleet: Fleet) -> None:
    worker, frontend = fleet.launch("vllm"), fleet.frontend("--router-mode", "kv")
    fleet.ready(frontend, worker)
    text = whole_blocks(frontend, worker)
    prompt = prompt_of(worker)
    # Its last block is computed, and stored, each time.
    ask(frontend, text, 1)
    cached = lambda: worker.node.figure("kv_cached_blocks")
    same = lambda: cached() == worker.engine.state("cached")
    eventually(same)
    before = cached()
    worker.engine("evict", tokens=prompt)
    # Of each block one copy has gone: all but the last, of which there were two.
    eventually(lambda: cached() == before - len(prompt) // BLOCK + 1)
    assert same()
    worker.engine("evict", tokens=prompt)
    eventually(lambda: cached() == before - len(prompt) // BLOCK)
    assert same()


def test_a_cache_that_is_cleared_twice_is_empty(fleet: Fleet) -> None:
    worker, frontend = fleet.launch("vllm"), fleet.frontend("--router-mode", "kv")
    fleet.ready(frontend, worker)
    text = long_text("cedar")
    ask(frontend, text, 1)
    assert eventually(lambda: cached_blocks(frontend, text))
    worker.engine("clear")
    eventually(lambda: worker.node.figure("kv_cached_blocks") == 0)
    assert eventually(lambda: cached_blocks(frontend, text)), "it goes on after that"


def test_events_that_were_missed_are_asked_for(fleet: Fleet) -> None:
    worker, frontend = fleet.launch("vllm"), fleet.frontend("--router-mode", "kv")
    fleet.ready(frontend, worker)
    worker.engine("mute", mute=True)
    missed = long_text("hazel")
    ask(frontend, missed, 1)
    worker.engine("mute", mute=False)
    ask(frontend, long_text("elm"), 1)
    assert eventually(lambda: cached_blocks(frontend, missed))


def test_events_that_cannot_be_repeated_make_everything_void(fleet: Fleet) -> None:
    worker, frontend = fleet.launch("vllm"), fleet.frontend("--router-mode", "kv")
    fleet.ready(frontend, worker)
    old = long_text("larch")
    ask(frontend, old, 1)
    old_blocks = eventually(lambda: worker.node.figure("kv_cached_blocks"))
    worker.engine("mute", mute=True)
    worker.engine("clear")
    worker.engine("forget_kept")
    worker.engine("mute", mute=False)
    ask(frontend, long_text("rowan", 10), 1)
    # That the old prompt is gone was never heard, and yet nothing is left of it.
    eventually(lambda: 0 < worker.node.figure("kv_cached_blocks") < old_blocks)
    assert worker.node.log.wait_for("has forgotten KV events")


def test_a_publisher_that_begins_anew_has_nothing(fleet: Fleet) -> None:
    worker, frontend = fleet.launch("vllm"), fleet.frontend("--router-mode", "kv")
    fleet.ready(frontend, worker)
    for topic in ("yew", "ash"):
        ask(frontend, long_text(topic), 1)
    before = eventually(lambda: worker.node.figure("kv_cached_blocks"))
    worker.engine("begin_anew")
    ask(frontend, long_text("fir", 10), 1)
    eventually(lambda: 0 < worker.node.figure("kv_cached_blocks") < before / 2)


def test_a_busy_engine_passes_its_request_on(fleet: Fleet) -> None:
    (first, second), frontend = pair(fleet)
    first.engine.set(busy=True)
    for _ in range(4):
        assert ask(frontend, "Hi")["usage"]["completion_tokens"] == 4
    assert len(first.engine.state("bodies")) >= 1, "it was asked"
    second.engine.set(busy=True)
    refused = post(frontend.frontend, CHAT, body("Hi"))
    assert refused.status == 503 and refused.headers["retry-after"], refused


def test_what_the_engine_finds_wrong_is_the_clients_fault(one) -> None:
    _, frontend = one
    refused = post(frontend.frontend, CHAT, body("Hi", 4090))
    assert refused.status == 400, refused


def test_an_engine_that_drains_is_passed_over(fleet: Fleet) -> None:
    """It says that it is well, and answers 200 with nothing."""
    (first, second), frontend = pair(fleet)
    expected = ask(frontend, "A boat", 6)["choices"]
    first.engine.set(draining=True)
    for _ in range(4):
        assert ask(frontend, "A boat", 6)["choices"] == expected
    assert second.engine.state("bodies")


def test_an_engine_that_dies_in_an_answer_is_replaced(fleet: Fleet) -> None:
    (first, second), frontend = pair(fleet, SLOW)
    expected = streamed(frontend.frontend, "A river", 30)
    first.engine.set(die_after=7)
    second.engine.set(delay=0.002)
    died = first.engine.pid
    for _ in range(2):
        assert streamed(frontend.frontend, "A river", 30) == expected
    gone(died)
    # It is started again, and serves.
    eventually(lambda: first.engine.pid != died, timeout=30)
    eventually(lambda: len(frontend.get("/health").json()["instances"]) == 2, timeout=30)
    assert streamed(frontend.frontend, "A river", 30) == expected


@pytest.mark.parametrize("args", ["", "--ignore-hang-ups"])
def test_a_client_that_leaves_ends_its_request(fleet: Fleet, args: str) -> None:
    """Behind something that keeps the connection, only the engine's own name for it does."""
    worker, frontend = fleet.launch("vllm", args=f"--delay 0.05 {args}"), fleet.frontend()
    fleet.ready(frontend, worker)
    with EventStream(frontend.frontend, CHAT, body("A hill", 2000, stream=True)) as stream:
        next(stream.events())
        eventually(lambda: worker.engine.state("running"))
    eventually(lambda: not worker.engine.state("running"))
    if args:
        (name,) = worker.engine.state("aborted")
        assert name.startswith("generate-tokens-")


def test_an_engine_without_the_endpoint_for_tokens_is_asked_for_completions(fleet: Fleet) -> None:
    plain, frontend = fleet.launch("vllm"), fleet.frontend()
    fleet.ready(frontend, plain)
    expected = ask(frontend, long_text("pine"), 9)["choices"]
    other = Fleet(fleet.cluster, fleet.directory)
    address, engine, process = attached(other)
    try:
        old = other.worker("--engine", "vllm", "--engine-url", address)
        frontend = other.frontend()
        other.ready(frontend, old)
        assert ask(frontend, long_text("pine"), 9)["choices"] == expected
        ask(frontend, long_text("pine"), 9)
        assert engine.state("paths") == ["/v1/completions"] * 2
    finally:
        other.stop()
        process.kill()
        process.wait()


def attached(fleet: Fleet, *flags: str, uds: bool = False):
    """An engine that nobody looks after."""
    engine = fleet.engine()
    socket = f"{fleet.directory}/http"
    port = free_port()
    listen = ("--uds", socket) if uds else ("--host", "127.0.0.1", "--port", str(port))
    events = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": f"tcp://*:{free_port()}",
        "replay_endpoint": f"tcp://127.0.0.1:{free_port()}",
        "topic": "",
    }
    process = subprocess.Popen(
        [
            *(sys.executable, str(HERE / "fake_vllm.py"), "model", "--served-model-name", "other"),
            *listen,
            *("--kv-events-config", json.dumps(events), "--control", str(engine._path), *flags),
        ]
    )
    address = f"unix:{socket}" if uds else f"http://127.0.0.1:{port}"
    return address, engine, process


@pytest.mark.parametrize("uds", [False, True])
def test_an_engine_that_runs_already_is_watched(fleet: Fleet, uds: bool) -> None:
    address, engine, process = attached(fleet, "--enable-scale-out", uds=uds)
    try:
        worker = fleet.worker("--engine", "vllm", "--engine-url", address)
        frontend = fleet.frontend("--router-mode", "kv")
        fleet.ready(frontend, worker)
        text = long_text("palm")
        ask(frontend, text, 1)
        assert engine.state("bodies")[0]["model"] == "other", "its own name for the model"
        assert eventually(lambda: cached_blocks(frontend, text))
        engine.set(unhealthy=True)
        eventually(lambda: not frontend.get("/health").json()["instances"])
        engine.set(unhealthy=False)
        eventually(lambda: frontend.get("/health").json()["instances"])
        assert eventually(lambda: cached_blocks(frontend, text))
        worker.stop()
        assert process.poll() is None, "it is not the worker's to end"
    finally:
        process.kill()
        process.wait()


def test_a_worker_that_leaves_cuts_no_answer(fleet: Fleet) -> None:
    worker, frontend = fleet.launch("vllm", args=SLOW), fleet.frontend()
    fleet.ready(frontend, worker)
    pid = worker.engine.pid
    with Crowd(8) as crowd:
        crowd.ask([frontend.frontend], ["A lake"] * 8, 60)
        eventually(lambda: len(worker.engine.state("running")) == 8)
        worker.node.signal(signal.SIGTERM)
        answers = crowd.results()
    assert len(set(answers)) == 1
    assert worker.node.wait(20) == 0
    gone(pid)
    # It was asked to end only after the last answer.
    assert worker.node.log.wait_for("engine: INFO asked to end with 0 requests")


def test_an_engine_that_is_killed_is_started_again(fleet: Fleet) -> None:
    worker, frontend = fleet.launch("vllm"), fleet.frontend("--router-mode", "kv")
    fleet.ready(frontend, worker)
    text = long_text("thorn")
    ask(frontend, text, 1)
    assert eventually(lambda: cached_blocks(frontend, text))
    pid = worker.engine.pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not frontend.get("/health").json()["instances"])
    eventually(lambda: frontend.get("/health").json()["instances"], timeout=30)
    assert worker.engine.pid != pid
    assert cached_blocks(frontend, text) == 0, "the new one has nothing"
    assert worker.node.process.poll() is None


def test_a_worker_that_is_killed_takes_its_engine_along(fleet: Fleet) -> None:
    worker = fleet.launch("vllm")
    worker.node.wait_until_ready()
    below = children(worker.node.process.pid)
    assert worker.engine.pid in below
    worker.node.kill()
    for pid in below:
        gone(pid)


def test_a_stopped_worker_that_is_killed_takes_its_engine_along(fleet: Fleet) -> None:
    """Also with requests at work, and while it is asked to leave."""
    worker, frontend = fleet.launch("vllm", args="--delay 0.05"), fleet.frontend()
    fleet.ready(frontend, worker)
    below = children(worker.node.process.pid)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(post, frontend.frontend, CHAT, body("A road", 400))
        eventually(lambda: worker.engine.state("running"))
        worker.node.signal(signal.SIGTERM)
        worker.node.kill()
        for pid in below:
            gone(pid)
        assert running.result().status >= 500


def test_an_engine_that_does_not_start_is_an_error(fleet: Fleet) -> None:
    worker = fleet.launch("vllm", args="--fail-at-start")
    assert worker.node.wait(20) != 0
    eventually(lambda: "ended before it served (exit status: 1)" in worker.node.story())
    assert worker.node.log.wait_for("engine: ERROR no accelerator")


def test_a_command_that_is_not_there_is_an_error(fleet: Fleet) -> None:
    worker = fleet.worker("--engine", "vllm", "--engine-command", "/no/such/engine")
    assert worker.wait(20) != 0
    eventually(lambda: "exit status: 127" in worker.story())


@pytest.mark.parametrize(
    "flags, problem",
    [
        (("--engine", "openai"), "needs --engine-url"),
        (("--engine", "vllm", "--connector", "tcp"), "use nixl or null"),
        (("--connector", "nixl"), "know nothing of NIXL"),
        (("--engine-url", "http://127.0.0.1:1"), "give --engine vllm"),
        (("--engine", "vllm", "--engine-url", "nonsense"), "is not the address of an engine"),
    ],
)
def test_flags_that_make_no_sense_are_refused(fleet: Fleet, flags, problem: str) -> None:
    worker = fleet.worker(*flags)
    assert worker.wait(10) != 0
    eventually(lambda: problem in worker.story())


def test_many_answers_at_once(one) -> None:
    worker, frontend = one
    texts = [f"Tell me story number {i}." for i in range(20)]
    with Crowd(40) as crowd:
        crowd.ask([frontend.frontend], texts * 4, 20)
        answers = crowd.results()
    assert answers == answers[:20] * 4 and len(set(answers)) == len(texts)
    eventually(lambda: worker.node.figure("running_requests") == 0)
