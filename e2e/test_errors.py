"""What is refused, how, and that the server outlives it."""

from __future__ import annotations

import json
import re

import openai
import pytest
from openai import OpenAI

from prompts import user
from raw_http import Response, connect, post, read_response, request, send_until_answered
from tandem_process import Tandem

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
MEGABYTE = 1_000_000


def refused(response: Response | None, status: int) -> dict:
    """The error of an answer with `status`."""
    assert response is not None, "the server hung up without an answer"
    assert response.status == status, response
    error = response.error()
    assert error["code"] == status, error
    assert "panicked" not in error["message"]
    return error


@pytest.mark.parametrize(
    "body",
    ["", "{", "nonsense", "[]", "null", '"text"', '{"model": "m", "messages": [}', "{}{}", "\x00"],
)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_bodies_that_are_not_a_json_object(port: int, path: str, body: str) -> None:
    error = refused(post(port, path, body), 400)
    assert error["type"] == "invalid_request_error"


def test_bytes_that_are_not_utf8(port: int) -> None:
    refused(post(port, CHAT, b'{"model": "\xff\xfe"}'), 400)


def test_deeply_nested_json_is_refused_and_not_followed(port: int) -> None:
    refused(post(port, CHAT, '{"model": "m", "messages": ' + "[" * 200_000), 400)


IMAGE = {"type": "image_url", "image_url": {"url": "http://localhost/cat.png"}}
"""No model here can see it; an answer that ignores it would be about something else."""

CHAT_ERRORS = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [{"role": "wizard", "content": "hello"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages"),
    ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages"),
    ({"model": 5}, "model"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": 2.5}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"top_p": [1]}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"top_k": "many"}, "top_k"),
    ({"min_p": 2}, "min_p"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": 1.5}, "n"),
    ({"seed": "lucky"}, "seed"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"frequency_penalty": -3}, "frequency_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -5}, "max_tokens"),
    ({"max_tokens": "few"}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_tokens": 1_000_000}, "max_tokens"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stop": 5}, "stop"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"logprobs": "all"}, "logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"logit_bias": {"5": 1}}, "logit_bias"),
]


@pytest.mark.parametrize(("change", "param"), CHAT_ERRORS, ids=lambda value: str(value)[:50])
def test_a_bad_chat_member_is_named(port: int, model: str, change: dict, param: str) -> None:
    body = {"model": model, "messages": user("hello"), "max_tokens": 1, **change}
    error = refused(post(port, CHAT, body), 400)
    assert error["param"] is not None, error
    assert error["param"].startswith(param), error
    member = re.split(r"\W+", param)[-1]
    assert member in error["message"], error


TEXT_ERRORS = [
    ({"prompt": None}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": {"text": "hello"}}, "prompt"),
    ({"prompt": [1_000_000]}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"logprobs": 6}, "logprobs"),
    ({"best_of": 5}, "best_of"),
    ({"suffix": "the end"}, "suffix"),
    ({"temperature": "hot"}, "temperature"),
]


@pytest.mark.parametrize(("change", "param"), TEXT_ERRORS, ids=lambda value: str(value)[:50])
def test_a_bad_completion_member_is_named(
    port: int, model: str, change: dict, param: str
) -> None:
    body = {"model": model, "prompt": "hello", "max_tokens": 1, **change}
    error = refused(post(port, TEXT, body), 400)
    assert error["param"] == param, error


@pytest.mark.parametrize("missing", ["messages", "model"])
def test_a_missing_member_is_named(port: int, model: str, missing: str) -> None:
    body = {"model": model, "messages": user("hello")}
    del body[missing]
    error = refused(post(port, CHAT, body), 400)
    assert missing in error["message"], error


def test_a_prompt_without_room_for_an_answer(port: int, model: str) -> None:
    body = {"model": model, "messages": user("word " * 6000), "max_tokens": 1}
    error = refused(post(port, CHAT, body), 400)
    assert error["param"] == "messages", error
    assert "4096" in error["message"], "the message says what would fit"


def test_errors_of_a_stream_have_a_status_too(port: int, model: str) -> None:
    body = {"model": model, "messages": user("word " * 6000), "stream": True}
    refused(post(port, CHAT, body), 400)


def test_the_sdk_raises_what_its_users_expect(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="made-up", messages=user("hello"))
    assert unknown.value.param == "model"
    assert "made-up" in unknown.value.message
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=model, messages=user("hello"), temperature=9)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="made-up", prompt="hello")


def test_an_unknown_model_says_which_there_are(tandem: Tandem, model: str) -> None:
    body = {"model": "made-up", "messages": user("hello")}
    error = refused(post(tandem.frontend, CHAT, body), 404)
    assert error["param"] == "model"
    assert model in error["message"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/chat", "/v1/embeddings", "/v2/models", "/v1//models"])
def test_unknown_routes(port: int, path: str) -> None:
    error = refused(request(port, "GET", path), 404)
    assert path in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CHAT, "POST"), ("PUT", TEXT, "POST"), ("POST", "/v1/models", "GET")],
)
def test_wrong_methods(port: int, method: str, path: str, allowed: str) -> None:
    response = request(port, method, path)
    refused(response, 405)
    assert allowed in response.headers["allow"]


def test_a_body_that_says_it_is_too_large(port: int) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {50 * MEGABYTE}\r\n\r\n"
    pieces = [head.encode(), *[b" " * MEGABYTE] * 50]
    with connect(port) as connection:
        refused(send_until_answered(connection, iter(pieces)), 413)


def test_a_body_that_turns_out_to_be_too_large(port: int) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = f"{MEGABYTE:x}\r\n".encode() + b" " * MEGABYTE + b"\r\n"
    with connect(port) as connection:
        refused(send_until_answered(connection, iter([head.encode(), *[chunk] * 50])), 413)


def test_a_full_queue_says_when_to_come_back(tandem: Tandem, port: int, model: str) -> None:
    """Four thousand prompts at once are more than a worker lets wait."""
    body = {"model": model, "prompt": ["a"] * 4000, "max_tokens": 1}
    response = post(port, TEXT, body)
    refused(response, 503)
    assert 1 <= int(response.headers["retry-after"]) <= 60
    tandem.wait_for_metric(lambda m: m.value("tandem_worker_waiting_requests") == 0)
    still_serves(port, model)


def still_serves(port: int, model: str) -> None:
    body = {"model": model, "messages": user("What is 2+2?"), "max_tokens": 1}
    assert post(port, CHAT, body).status == 200


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\x01\x02\x03\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"HELLO\r\n\r\n", b"\r\n" * 50],
    ids=["zeros", "tls", "word", "newlines"],
)
def test_garbage_is_survived(port: int, model: str, garbage: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(garbage)
        connection.shutdown(1)
        answer = read_response(connection)
    assert answer is None or answer.status == 400
    still_serves(port, model)


@pytest.mark.parametrize("cut", [5, 60, 130], ids=["line", "headers", "body"])
def test_half_a_request_is_survived(port: int, model: str, cut: int) -> None:
    body = json.dumps({"model": model, "messages": user("What is 2+2?")})
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    text = f"{head}content-length: {len(body)}\r\n\r\n{body}"
    assert cut < len(text) - 20
    with connect(port) as connection:
        connection.sendall(text[:cut].encode())
    still_serves(port, model)


def test_a_huge_header_is_refused(port: int, model: str) -> None:
    head = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-large: "
    with connect(port) as connection:
        answer = send_until_answered(connection, iter([head, *[b"a" * MEGABYTE] * 3, b"\r\n\r\n"]))
    assert answer is None or answer.status in (400, 431), answer
    still_serves(port, model)


def test_one_connection_survives_a_refused_request(port: int, model: str) -> None:
    """An error must leave the connection usable: SDKs keep theirs open."""
    bad, good = "{", json.dumps({"model": model, "messages": user("hi"), "max_tokens": 1})
    with connect(port) as connection:
        for body, status in [(bad, 400), (good, 200), (bad, 400)]:
            head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body.encode())
            answer = read_response(connection)
            assert answer is not None and answer.status == status, answer
