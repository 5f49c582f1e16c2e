"""Clients with keys and limits, as the OpenAI SDK sees them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from gateway_process import RELOADED, RELOADS, Gateway
from prompts import user
from raw_http import EventStream, post
from test_errors import CHAT
from upstream import Stream, Upstream

CONFIG = """
version: v0.3
providers:
  models:
    - name: m
      backend_refs: [{name: only, endpoint: '127.0.0.1:PORT', api_key: sk-server}]
tandem:
  security: {jailbreak: {enabled: false}, pii: {enabled: false}}
  gateway:
    clients:
      - {name: alice, key: '${ALICE_KEY}'}
      - {name: bob, key: '${file:BOB_FILE}', limits: {requests_per_minute: 60}}
      - {name: carol, key: key-carol, limits: {tokens_per_minute: 6}}
      - {name: dave, key: key-dave, limits: {concurrent_requests: 1}}
      - {name: eve, key: key-eve, limits: {requests_per_minute: 1}}
"""


@pytest.fixture(scope="module")
def config(shared_upstream: Upstream, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("clients")
    (directory / "bob").write_text("key-bob\n")
    path = directory / "config.yaml"
    text = CONFIG.replace("PORT", str(shared_upstream.port))
    path.write_text(text.replace("BOB_FILE", str(directory / "bob")))
    return path


@pytest.fixture(scope="module")
def gateway(start_gateway, config: Path) -> Iterator[Gateway]:
    with start_gateway(config, ALICE_KEY="key-alice") as process:
        yield process
        assert process.process.poll() is None, process.story()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[Callable[..., OpenAI]]:
    """Opens the SDK with a key."""
    opened: list[OpenAI] = []

    def open_with(key: str, retries: int = 0) -> OpenAI:
        url = f"http://127.0.0.1:{gateway.gateway}/v1"
        opened.append(OpenAI(base_url=url, api_key=key, max_retries=retries, timeout=30.0))
        return opened[-1]

    yield open_with
    for one in opened:
        one.close()


def ask(client: OpenAI, **members):
    return client.chat.completions.create(model="m", messages=user("Hello"), **members)


@pytest.mark.parametrize("key", ["key-alice", "key-bob"], ids=["from a variable", "from a file"])
def test_a_known_key_is_let_in_and_goes_no_further(client, upstream: Upstream, key: str) -> None:
    assert ask(client(key)).choices[0].message.content == "Hello"
    asked = upstream.last().headers
    assert asked["authorization"] == "Bearer sk-server"
    assert key not in str(asked)


def test_an_unknown_key_is_an_authentication_error(
    client, gateway: Gateway, upstream: Upstream
) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        ask(client("key-mallory"))
    assert refused.value.status_code == 401
    assert refused.value.response.headers["www-authenticate"] == "Bearer"
    assert "not known" in refused.value.message
    assert post(gateway.gateway, CHAT, {"model": "m", "messages": user("Hi")}).status == 401
    assert upstream.nothing()


def test_a_limit_is_an_error_that_says_when_to_come_back(
    client, gateway: Gateway, upstream: Upstream
) -> None:
    assert ask(client("key-eve"))
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client("key-eve"))
    assert 55 <= int(refused.value.response.headers["retry-after"]) <= 60
    assert "1 requests per minute" in refused.value.message
    labels = {"reason": "requests_per_minute"}
    assert gateway.metrics().value("tandem_gateway_refused_requests_total", **labels) >= 1
    assert ask(client("key-alice")), "others are not concerned"


def test_the_sdk_waits_as_long_as_it_is_told(client, upstream: Upstream) -> None:
    """Its retries respect `retry-after`: sixty a minute come back one a second."""
    bob = client("key-bob", retries=3)
    started = time.monotonic()
    answer = bob.chat.completions.with_raw_response.create(model="m", messages=user("Hello"))
    left = int(answer.headers["x-ratelimit-remaining-requests"])
    assert answer.headers["x-ratelimit-limit-requests"] == "60"
    for _ in range(left + 2):
        assert ask(bob).choices[0].message.content == "Hello"
    assert time.monotonic() - started >= 1.0, "nobody was told to wait"


def test_a_stream_with_usage_is_charged_what_it_says(client, upstream: Upstream) -> None:
    upstream.stream = stream = Stream()
    for text in ("Good ", "morning."):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        stream.send(json.dumps({"id": "x", "choices": [choice]}))
    usage = {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}
    stream.send(json.dumps({"id": "x", "choices": [], "usage": usage}))
    stream.send("[DONE]")
    stream.end()
    carol = client("key-carol")
    chunks = list(ask(carol, stream=True, stream_options={"include_usage": True}))
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert texts == ["Good ", "morning."]
    assert chunks[-1].usage.total_tokens == 10
    assert upstream.last().json()["stream_options"] == {"include_usage": True}
    with pytest.raises(openai.RateLimitError) as refused:
        ask(carol)
    assert "6 tokens per minute" in refused.value.message
    # Ten tokens of six that are filled up in a minute: five are missing until there is one.
    assert 45 <= int(refused.value.response.headers["retry-after"]) <= 51


def test_a_request_at_a_time_runs_until_its_client_leaves(
    client, gateway: Gateway, upstream: Upstream
) -> None:
    upstream.stream = stream = Stream()
    stream.send("first")
    dave = {"authorization": "Bearer key-dave"}
    body = {"model": "m", "messages": user("Hi"), "stream": True}
    with EventStream(gateway.gateway, CHAT, body, dave) as running:
        next(running.chunks())
        assert post(gateway.gateway, CHAT, {**body, "stream": False}, dave).status == 429
    assert stream.client_left.wait(10), "the server was not stopped"
    gateway.wait_for_count("tandem_gateway_requests_in_flight", 0)
    upstream.reset()
    assert post(gateway.gateway, CHAT, {**body, "stream": False}, dave).status == 200


def test_keys_change_without_a_lost_request(
    start_gateway, config: Path, tmp_path: Path, upstream: Upstream
) -> None:
    text = config.read_text()
    file = tmp_path / "config.yaml"
    file.write_text(text)
    body = {"model": "m", "messages": user("Hello")}
    statuses: list[int] = []
    stop = threading.Event()
    with start_gateway(file, ALICE_KEY="key-alice") as gateway:

        def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return post(gateway.gateway, CHAT, body, headers).status

        def traffic() -> None:
            while not stop.is_set():
                statuses.append(status("key-alice"))

        thread = threading.Thread(target=traffic)
        thread.start()
        assert (status("key-carol"), status("key-new")) == (200, 401)
        file.write_text(text.replace("key-carol", "key-new"))
        gateway.wait_for_count(RELOADS, 1, **RELOADED)
        changed = (status("key-carol"), status("key-new"))
        stop.set()
        thread.join()
    assert changed == (401, 200)
    assert len(statuses) > 20 and set(statuses) == {200}
