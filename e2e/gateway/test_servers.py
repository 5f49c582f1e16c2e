"""Model servers that fail, change and are slow, and clients that do the same."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway_process import RELOADED, RELOADS, Gateway
from prompts import user
from raw_http import EventStream, connect, post, request
from server_process import ServerProcess
from test_errors import CHAT
from upstream import Stream, Upstream

HELLO = {"model": "m", "messages": user("Hello")}
STREAM = {**HELLO, "stream": True}


def config(*ports: int) -> str:
    """The model `m` on these ports."""
    servers = ", ".join(f"{{name: s{port}, endpoint: '127.0.0.1:{port}'}}" for port in ports)
    return f"""
version: v0.3
providers: {{models: [{{name: m, backend_refs: [{servers}]}}]}}
tandem: {{security: {{jailbreak: {{enabled: false}}, pii: {{enabled: false}}}}}}
"""


@pytest.fixture
def file(tmp_path: Path, shared_upstream: Upstream) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(config(shared_upstream.port))
    return path


@pytest.fixture
def gateway(start_gateway, file: Path) -> Iterator[Gateway]:
    with start_gateway(file, "--log-format", "json") as process:
        yield process


def test_a_server_that_is_killed_costs_no_request(start_gateway, file: Path) -> None:
    with ServerProcess(delay=0.02) as first, ServerProcess(delay=0.02) as second:
        file.write_text(config(first.port, second.port))
        with start_gateway(file) as gateway, ThreadPoolExecutor(8) as pool:
            done = threading.Semaphore(0)

            def ask(_: int) -> int:
                status = post(gateway.gateway, CHAT, HELLO).status
                done.release()
                return status

            answers = [pool.submit(ask, number) for number in range(300)]
            for _ in range(100):
                done.acquire()
            first.process.send_signal(signal.SIGKILL)
            assert [answer.result() for answer in answers] == [200] * 300
            metrics = gateway.metrics()
        attempts = "tandem_gateway_upstream_requests_total"
        before, after = (f"s{server.port}" for server in (first, second))
        assert metrics.value(attempts, server=before, outcome="success") > 20
        assert metrics.value(attempts, server=after, outcome="success") > 150
        assert metrics.value("tandem_gateway_upstream_retries_total", server=before) >= 1


def test_servers_change_without_a_lost_request(
    start_gateway, file: Path, upstream: Upstream
) -> None:
    statuses: list[int] = []
    stop = threading.Event()
    with ServerProcess(delay=0.01) as old:
        file.write_text(config(old.port))
        with start_gateway(file) as gateway, ThreadPoolExecutor(4) as pool:

            def traffic() -> None:
                while not stop.is_set():
                    statuses.append(post(gateway.gateway, CHAT, HELLO).status)

            for _ in range(4):
                pool.submit(traffic)
            while len(statuses) < 20:
                time.sleep(0.01)
            assert upstream.seen.empty()
            file.write_text(config(upstream.port))
            gateway.wait_for_count(RELOADS, 1, **RELOADED)
            upstream.seen.get(timeout=10)
            so_far = len(statuses)
            while len(statuses) < so_far + 50:
                time.sleep(0.01)
            stop.set()
    assert set(statuses) == {200}


def test_a_client_that_leaves_stops_the_server(gateway: Gateway, upstream: Upstream) -> None:
    stream = upstream.stream = Stream()
    stream.send("first")
    mark = gateway.log.mark()
    with EventStream(gateway.gateway, CHAT, STREAM) as running:
        next(running.chunks())
    assert stream.client_left.wait(10), "the server was not stopped"
    (line,) = gateway.accesses(mark, 1)
    assert line["complete"] is False and line["status"] == 200


def test_every_event_arrives_before_the_next_is_made(
    gateway: Gateway, upstream: Upstream
) -> None:
    stream = upstream.stream = Stream()
    stream.send("first")
    with EventStream(gateway.gateway, CHAT, STREAM) as running:
        pieces = (piece for _, piece in running.chunks() if piece.startswith(b"data: "))
        for following in ("second", "third", "[DONE]"):
            assert next(pieces)
            stream.send(following)
        stream.end()
        assert b"[DONE]" in b"".join(piece for _, piece in running.chunks())
        assert running.complete


def test_a_slow_reader_gets_everything_and_holds_nobody_up(
    gateway: Gateway, upstream: Upstream
) -> None:
    """More than all buffers hold: the server has to wait for the reader, others do not."""
    stream = upstream.stream = Stream()
    big = "x" * 100_000
    for _ in range(400):
        stream.send(big)
    stream.end()
    body = json.dumps(STREAM)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    with connect(gateway.gateway) as slow:
        slow.sendall((head + body).encode())
        assert slow.recv(12) == b"HTTP/1.1 200"
        # Nothing is read until all buffers are full.
        waiting = -1
        while waiting != (waiting := stream.pieces.qsize()):
            time.sleep(0.3)
        assert waiting > 0, "somebody keeps forty megabytes"
        before = gateway.metrics().value("tandem_gateway_requests_in_flight")
        upstream.stream = None
        started = time.monotonic()
        assert post(gateway.gateway, CHAT, HELLO).status == 200
        assert time.monotonic() - started < 5
        received, end = 0, b""
        while not end.endswith(b"\r\n0\r\n\r\n"):
            piece = slow.recv(1 << 20)
            assert piece, "the answer was cut off"
            received, end = received + len(piece), (end + piece)[-7:]
    assert before == 1
    assert received > 400 * len(big)


def test_a_stop_lets_streams_end(gateway: Gateway, upstream: Upstream) -> None:
    stream = upstream.stream = Stream()
    stream.send("first")
    with EventStream(gateway.gateway, CHAT, STREAM) as running:
        next(running.chunks())
        gateway.signal(signal.SIGTERM)
        assert gateway.log.wait_for("stopping")
        with pytest.raises(OSError):
            while True:
                request(gateway.gateway, "GET", "/health")
        stream.send("[DONE]")
        stream.end()
        assert b"[DONE]" in b"".join(piece for _, piece in running.chunks())
        assert running.complete
    assert gateway.wait(10) == 0


def test_a_stop_does_not_wait_for_ever(start_gateway, file: Path, upstream: Upstream) -> None:
    stream = upstream.stream = Stream()
    stream.send("first")
    with start_gateway(file, "--drain-timeout", "1") as gateway:
        with EventStream(gateway.gateway, CHAT, STREAM) as running:
            next(running.chunks())
            gateway.signal(signal.SIGTERM)
            assert gateway.wait(10) == 0
    assert stream.client_left.wait(10)


def test_a_line_for_every_request_and_nothing_private(
    gateway: Gateway, upstream: Upstream
) -> None:
    mark = gateway.log.mark()
    body = {"model": "m", "messages": user("my private question")}
    headers = {"x-request-id": "id-1", "authorization": "Bearer private-key"}
    answer = post(gateway.gateway, f"{CHAT}?token=private", body, headers)
    assert upstream.last().path == f"{CHAT}?token=private"
    (line,) = gateway.accesses(mark, 1)
    assert (line["method"], line["path"], line["status"]) == ("POST", CHAT, 200)
    assert (line["request_id"], line["complete"]) == ("id-1", True)
    assert line["bytes"] == len(answer.body)
    assert 0 < line["duration_ms"] < 10_000
    assert "private" not in "\n".join(gateway.log.since(mark))
    mark = gateway.log.mark()
    assert request(gateway.gateway, "GET", "/nowhere?token=private").status == 404
    (line,) = gateway.accesses(mark, 1)
    assert (line["path"], line["status"]) == ("/nowhere", 404)
    assert "private" not in "\n".join(gateway.log.since(mark))


def test_the_log_can_be_switched_off(start_gateway, file: Path, upstream: Upstream) -> None:
    with start_gateway(file, "--access-log=false") as gateway:
        assert post(gateway.gateway, CHAT, HELLO).status == 200
        gateway.signal(signal.SIGTERM)
        gateway.wait(10)
        assert not any("access" in line for line in gateway.log.end(5))
