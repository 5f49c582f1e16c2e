"""What reaches the upstream, in every mode in which Envoy shows bodies."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from envoy_process import Envoy
from prompts import user
from raw_http import EventStream, connect, post, request, send_until_answered
from router_process import Router
from test_errors import CHAT
from upstream import Stream, Upstream

MODES = ["buffered", "streamed", "duplex"]
MATH = "What is the derivative of x squared?"


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def door(mode: str, envoy: Envoy) -> int:
    return envoy.port(mode)


def test_only_what_must_change_changes(door: int, upstream: Upstream) -> None:
    """Order, unknown members and the form of numbers survive."""
    body = (
        '{"temperature":1.0,"model":"MoM","guided_json":{"b":1,"a":[1e3,0.10]},'
        f'"messages":[{{"role":"user","content":{json.dumps(MATH)}}}],"nvext":{{"x":null}}}}'
    )
    assert post(door, CHAT, body).status == 200
    sent = upstream.last().body.decode()
    assert sent == (
        '{"temperature":1.0,"model":"big","guided_json":{"b":1,"a":[1e3,0.10]},'
        '"messages":[{"role":"system","content":"Be exact."},'
        f'{{"role":"user","content":{json.dumps(MATH)}}}],"nvext":{{"x":null}},'
        '"chat_template_kwargs":{"enable_thinking":true}}'
    )


def test_the_headers_say_where_it_goes(door: int, upstream: Upstream) -> None:
    spoofed = {
        "x-selected-model": "spoofed",
        "x-vsr-destination-endpoint": "127.0.0.1:1",
        "x-vsr-internal-auth": "spoofed",
        "x-secret": "1",
        "authorization": "Bearer client",
        "x-request-id": "r-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    response = post(door, CHAT, {"model": "MoM", "messages": user(MATH)}, spoofed)
    assert response.headers["x-vsr-selected-model"] == "big"
    headers = upstream.last().headers
    assert headers["x-selected-model"] == "big"
    assert headers["x-vsr-destination-endpoint"] == "10.0.0.1:8000"
    assert headers["authorization"] == "Bearer sk-upstream"
    assert headers["x-tier"] == "gold"
    assert headers["accept-encoding"] == "identity"
    assert headers["x-request-id"] == "r-1"
    assert "spoofed" not in str(headers) and "x-secret" not in headers
    version, trace, span, flags = headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", "0af7651916cd43dd8448eb211c80319c", "01")
    assert span != "b7ad6b7169203331"


def test_a_slow_body_goes_where_it_should(door: int, upstream: Upstream) -> None:
    """However long the body takes, the headers wait for the decision about it."""
    body = json.dumps({"model": "MoM", "messages": user(MATH)}).encode()

    def pieces():
        yield f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        for at in range(0, len(body), 40):
            time.sleep(0.15)
            yield body[at : at + 40]

    with connect(door) as connection:
        assert send_until_answered(connection, pieces()).status == 200
    seen = upstream.last()
    assert seen.json()["model"] == "big"
    assert seen.headers["x-selected-model"] == "big"
    assert seen.headers["authorization"] == "Bearer sk-upstream"


def test_a_two_megabyte_prompt_passes(door: int, upstream: Upstream) -> None:
    text = "word " * 420_000
    response = post(door, CHAT, {"model": "small", "messages": user(text)})
    assert response.status == 200, response.status
    assert upstream.last().json()["messages"] == user(text)


def test_full_duplex_needs_no_buffer(envoy: Envoy, upstream: Upstream) -> None:
    text = "word " * 60_000
    body = {"model": "small", "messages": user(text)}
    assert post(envoy.port("duplex-small"), CHAT, body).status == 200
    assert upstream.last().json()["messages"] == user(text)


def test_every_event_arrives_before_the_next_is_made(door: int, upstream: Upstream) -> None:
    upstream.stream = Stream()
    upstream.stream.send("first")
    body = {"model": "small", "messages": user("Hello"), "stream": True}
    with EventStream(door, CHAT, body) as stream:
        assert stream.headers["x-vsr-selected-model"] == "small"
        pieces = (piece for _, piece in stream.chunks() if piece.startswith(b"data: "))
        for following in ("second", "third", "[DONE]"):
            assert next(pieces)
            upstream.stream.send(following)
        upstream.stream.end()
        rest = b"".join(piece for _, piece in stream.chunks())
        assert b"[DONE]" in rest
        assert stream.complete


def test_a_client_that_accepts_gzip_is_counted_too(
    door: int, upstream: Upstream, chooser: Router
) -> None:
    """An answer that was compressed could not be read on its way."""
    before = chooser.count("llm_model_tokens_total", model="small")
    body = {"model": "small", "messages": user("Hello")}
    response = post(door, CHAT, body, {"accept-encoding": "gzip, br"})
    assert response.headers.get("content-encoding") is None
    assert response.json()["choices"][0]["message"]["content"] == "Hello"
    chooser.wait_for_count("llm_model_tokens_total", before + 5, model="small")


def test_a_client_that_leaves_is_noticed(door: int, upstream: Upstream, chooser: Router) -> None:
    labels = {"model": "small", "reason": "cancellation"}
    before = chooser.count("llm_request_errors_total", **labels)
    stream = upstream.stream = Stream()
    stream.send("first")
    with EventStream(door, CHAT, {"model": "small", "messages": user("Hi"), "stream": True}) as sent:
        next(sent.chunks())
    assert stream.client_left.wait(10), "the upstream was not stopped"
    chooser.wait_for_count("llm_request_errors_total", before + 1, **labels)
    chooser.wait_for_count("tandem_gateway_requests_in_flight", 0)


def test_two_hundred_requests_at_once(door: int, upstream: Upstream, chooser: Router) -> None:
    def ask(number: int) -> tuple[int, str]:
        text = f"What is {number} plus {number}?"
        response = post(door, CHAT, {"model": "MoM", "messages": user(text)})
        return response.status, response.json()["choices"][0]["message"]["content"]

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(200)))
    assert answers == [(200, f"What is {number} plus {number}?") for number in range(200)]
    chooser.wait_for_count("tandem_gateway_requests_in_flight", 0)


def test_an_upstream_cannot_speak_for_the_router(door: int, upstream: Upstream) -> None:
    upstream.headers = {"x-vsr-cache-hit": "true", "x-vsr-selected-model": "spoofed"}
    response = post(door, CHAT, {"model": "small", "messages": user("Hello")})
    assert response.headers["x-vsr-selected-model"] == "small"
    assert "x-vsr-cache-hit" not in response.headers
    upstream.status = 500
    response = post(door, CHAT, {"model": "small", "messages": user("Hello")})
    assert response.status == 500
    assert "x-vsr-selected-model" not in response.headers


def test_other_paths_pass(door: int, upstream: Upstream) -> None:
    response = post(door, "/other", {"messages": user("123-45-6789")}, {"x-vsr-a": "b"})
    assert response.status == 200
    seen = upstream.last()
    assert seen.path == "/other"
    assert "x-vsr-a" not in seen.headers


def test_a_request_without_a_body_is_refused(door: int, upstream: Upstream) -> None:
    assert request(door, "POST", CHAT).status == 400
    assert upstream.nothing()
