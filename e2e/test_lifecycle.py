"""How a process starts, refuses to start, and ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from prompts import user
from raw_http import EventStream, post
from tandem_process import Tandem

CHAT = "/v1/chat/completions"
STOP_LIMIT = 5.0
"""Seconds in which a process must end."""
SLACK = 1.0
"""Seconds for a busy machine to notice."""
SIGNALS = [signal.SIGINT, signal.SIGTERM]


def story(model: str, tokens: int) -> dict:
    """A request whose answer has exactly `tokens` tokens."""
    body = {"model": model, "messages": user("Tell me a story."), "temperature": 0}
    return body | {"max_tokens": tokens, "ignore_eos": True, "stream": True}


def refused(run, *args: str, lines: int = 1) -> str:
    """What `tandem ARGS…` prints when it refuses: few lines that people can act on."""
    with run("--log", "error", *args) as process:
        code = process.wait(30)
        process.log.end(2)
        printed = [line for line in process.log.since() if line.strip()]
        assert code not in (0, 101), process.story()
        text = "\n".join(printed)
        assert "panicked" not in text and "backtrace" not in text.lower(), text
        assert process.out.since() == [], "errors belong on standard error"
        assert len(printed) == lines, text
        return text


@pytest.mark.parametrize("door", ["gateway", "frontend"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_stream_in_flight_is_completed(
    up, model: str, number: signal.Signals, door: str
) -> None:
    with up() as server, EventStream(getattr(server, door), CHAT, story(model, 60)) as stream:
        events = stream.events()
        next(events)
        asked = time.monotonic()
        server.signal(number)
        *rest, done = list(events)
        assert done == "[DONE]" and stream.complete
        assert json.loads(rest[-1])["choices"][0]["finish_reason"] == "length"
        assert server.wait(STOP_LIMIT + SLACK) == 0
        assert time.monotonic() - asked < STOP_LIMIT + SLACK


def test_endless_streams_do_not_keep_the_process(up, model: str) -> None:
    with up() as server:
        doors = (server.gateway, server.frontend, server.frontend)
        streams = [EventStream(door, CHAT, story(model, 3800)) for door in doors]
        readers = [stream.events() for stream in streams]
        for reader in readers:
            next(reader)
        asked = time.monotonic()
        server.signal(signal.SIGTERM)
        last = [list(reader)[-1] for reader in readers]
        code = server.wait(STOP_LIMIT + SLACK)
        took = time.monotonic() - asked
        for stream in streams:
            stream.close()
    assert code == 0, server.story()
    assert took < STOP_LIMIT + SLACK
    assert "[DONE]" not in last, "an answer that was cut off must not look complete"


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_an_idle_process_stops_at_once(up, number: signal.Signals) -> None:
    """The signal comes as soon as the process says that it is ready."""
    with up() as server:
        asked = time.monotonic()
        server.signal(number)
        assert server.wait(STOP_LIMIT) == 0
        assert time.monotonic() - asked < 2.0


def test_an_idle_connection_does_not_keep_the_process(up) -> None:
    with up() as server, socket.create_connection(("127.0.0.1", server.frontend)):
        asked = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait(STOP_LIMIT + SLACK) == 0
        assert time.monotonic() - asked < STOP_LIMIT + SLACK


def test_the_summary_says_what_runs_where(tandem: Tandem, model: str) -> None:
    text = "\n".join(tandem.out.since())
    assert str(tandem.gateway) in text and str(tandem.frontend) in text
    assert model in text
    assert "curl" in text
    assert re.search(r"^ready in \S", text, re.MULTILINE)


def test_the_curl_line_of_the_summary_works(tandem: Tandem, model: str) -> None:
    """Its body is sent as it is, so that what people copy is what is tested."""
    text = "\n".join(tandem.out.since())
    command = text[text.index("curl ") :]
    body = re.search(r"'(\{.*?\})'", command, re.DOTALL)
    assert body, command
    assert f":{tandem.gateway}/v1/chat/completions" in command
    response = post(tandem.gateway, CHAT, body[1])
    assert response.status == 200
    assert response.json()["model"] == model


def test_logs_have_no_colours_in_a_file(tandem: Tandem) -> None:
    assert not any("\x1b" in line for line in tandem.log.since() + tandem.out.since())


def test_json_logs_are_json(up, model: str) -> None:
    with up("--workers", "both=1", "--log-format", "json") as server:
        post(server.frontend, CHAT, {"model": model, "messages": user("Hi"), "max_tokens": 1})
    lines = server.log.since()
    assert lines
    records = [json.loads(line) for line in lines]
    assert all(record["level"] and record["timestamp"] for record in records)
    assert any("Selected worker" in json.dumps(record) for record in records)


@pytest.mark.parametrize("flag", ["--port", "--frontend-port"])
def test_a_port_in_use_is_named(run, cache_dir: Path, tandem: Tandem, flag: str) -> None:
    taken = tandem.gateway
    ports = {"--port": "0", "--frontend-port": "0", flag: str(taken)}
    flags = [part for pair in ports.items() for part in pair]
    line = refused(run, "up", *flags, "--cache-dir", str(cache_dir))
    assert str(taken) in line
    assert flag in line or "in use" in line
    assert tandem.get("/health").status == 200


UP = ("up", "--port", "0", "--frontend-port", "0")


def test_a_model_that_is_not_there_is_named(run, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-model"
    assert str(missing) in refused(run, *UP, "--model", str(missing))


def test_a_directory_without_a_model_is_named(run, tmp_path: Path) -> None:
    line = refused(run, *UP, "--model", str(tmp_path))
    assert str(tmp_path) in line and "config.json" in line


def test_a_config_file_that_is_not_there_is_named(run, tmp_path: Path) -> None:
    missing = tmp_path / "router.yaml"
    assert str(missing) in refused(run, *UP, "--config", str(missing))


CONFIG = """
default_model: tandem-nano-chat
decisions:
  - name: math_decision
    priority: 10
    rules: { operator: OR, conditions: [{ type: domain, name: math }] }
    modelRefs: [{ model: tandem-nano-chat }]
"""


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        ("    priority: 10", "    prioritty: 10", ["decisions[0]", "prioritty", "priority"]),
        ("default_model:", "defualt_model:", ["defualt_model", "default_model"]),
        ("priority: 10", "priority: high", ["decisions[0].priority"]),
        ("operator: OR", "operator: XOR", ["decisions[0]", "XOR"]),
    ],
    ids=["key", "top-level key", "type", "value"],
)
def test_a_mistake_in_the_config_is_located(
    run, tmp_path: Path, cache_dir: Path, good: str, bad: str, expected: list[str]
) -> None:
    file = tmp_path / "router.yaml"
    file.write_text(CONFIG.replace(good, bad))
    flags = ("--config", str(file), "--cache-dir", str(cache_dir))
    # One line for the file, and one for each mistake in it.
    line = refused(run, *UP, *flags, lines=2)
    for part in (str(file), *expected):
        assert part in line, line


def test_a_config_of_ones_own_is_used(up, tmp_path: Path, model: str) -> None:
    file = tmp_path / "router.yaml"
    file.write_text(CONFIG.replace("math_decision", "sums"))
    with up("--workers", "both=1", "--config", str(file)) as server:
        body = {"model": "MoM", "messages": user("What is 2+2?"), "max_tokens": 1}
        response = post(server.gateway, CHAT, body)
        assert response.status == 200
        assert response.headers["x-vsr-selected-decision"] == "sums"
        assert response.headers["x-vsr-injected-system-prompt"] == "false"
        assert response.json()["model"] == model


@pytest.mark.parametrize(
    "workers", ["", "three", "wizard=1", "prefill=1", "decode=0", "both=1,prefill=1", "decode=-1"]
)
def test_bad_worker_counts_are_explained(run, workers: str) -> None:
    with run(*UP, "--workers", workers) as process:
        assert process.wait(10) == 2, process.story()
        process.log.end(2)
        text = "\n".join(process.log.since())
    assert text.startswith("error:") and "--workers" in text, text
    assert len([line for line in text.splitlines() if line.strip()]) <= 3, text


def test_help_lists_the_flags(run) -> None:
    with run("up", "--help") as process:
        assert process.wait(10) == 0
        text = "\n".join(process.out.end(2))
    flags = "port frontend-port host workers model config router-mode max-local-prefill"
    for flag in [*flags.split(), "log-format", "cache-dir"]:
        assert re.search(rf"--{flag}\b", text), flag


def test_a_client_that_hangs_up_stops_the_work(tandem: Tandem, port: int, model: str) -> None:
    name = "dynamo_frontend_disconnected_clients_total"
    before = tandem.metrics().value(name)
    with EventStream(port, CHAT, story(model, 3800)) as stream:
        events = stream.events()
        received = [next(events) for _ in range(3)]
    assert len(received) == 3
    tandem.wait_for_metric(lambda metrics: metrics.value(name) == before + 1, timeout=5)
    quiet = tandem.wait_for_metric(
        lambda metrics: metrics.value("dynamo_frontend_inflight_requests") == 0, timeout=5
    )
    generated = "tandem_worker_generated_tokens_total"
    assert generated in quiet.names()
    # The worker is idle when a request that came later finds all of its time.
    post(tandem.frontend, CHAT, {"model": model, "messages": user("Hi"), "max_tokens": 1})
    after = tandem.metrics().value(generated) - quiet.value(generated)
    assert after <= 3, f"{after} tokens were made after the client had left"


def test_a_client_that_hangs_up_before_a_whole_answer_is_noticed(
    tandem: Tandem, port: int, model: str
) -> None:
    name = "dynamo_frontend_disconnected_clients_total"
    before = tandem.metrics().value(name)
    text = json.dumps({**story(model, 3800), "stream": False})
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(text)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + text.encode())
        running = "dynamo_frontend_inflight_requests"
        tandem.wait_for_metric(lambda metrics: metrics.value(running) == 1)
    tandem.wait_for_metric(lambda metrics: metrics.value(name) == before + 1, timeout=5)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named_once(run) -> None:
    text = refused(run, "up", "--port", "0", "--frontend-port", "0", "--device", "cuda:1")
    assert text.count("--device cpu") == 1, text


def test_nonsense_about_gpus_is_refused(run, tmp_path: Path) -> None:
    assert "cuda:N" in refused(run, "up", "--device", "gpu", lines=2)
    rounded = ("--device", "cuda", "--quantization", "q8_0", "--port", "0", "--frontend-port", "0")
    assert "quantization on a GPU" in refused(run, "up", *rounded)
    store = ("--discovery-backend", "file", "--discovery-dir", str(tmp_path), "--event-plane", "zmq")
    outside = ("worker", "--engine", "vllm", "--device", "cuda", "--model", "m", *store)
    assert "--device is for the embedded engine" in refused(run, *outside)
