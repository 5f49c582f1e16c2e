"""Streamed answers: their form, their timing, and that they say what whole answers say."""

from __future__ import annotations

import json

import pytest
from openai import OpenAI

from prompts import SEED_REQUEST, user
from raw_http import EventStream, event_data, post
from tandem_process import Tandem

CHAT = "/v1/chat/completions"


def test_the_seeds_request_streams(tandem: Tandem, model: str) -> None:
    response = post(tandem.gateway, CHAT, {**SEED_REQUEST, "stream": True})
    assert response.status == 200, response
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-vsr-selected-model"] == model
    assert response.headers["x-vsr-selected-category"] == "math"
    assert response.headers["x-vsr-selected-reasoning"] == "on"
    assert response.headers["x-vsr-injected-system-prompt"] == "true"
    *events, done = event_data(response.text)
    assert done == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {model}
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks), "nobody asked for it"


def test_chunks_have_the_documented_order(client: OpenAI, model: str) -> None:
    stream = client.chat.completions.create(
        model=model,
        messages=user("Count from 1 to 10."),
        temperature=0,
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = list(stream)
    deltas = [chunk.choices[0] for chunk in chunks]
    assert deltas[0].delta.role == "assistant"
    assert all(choice.delta.role is None for choice in deltas[1:])
    assert [choice.finish_reason for choice in deltas[:-1]] == [None] * (len(deltas) - 1)
    assert deltas[-1].finish_reason in ("stop", "length")
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert 0 < last.usage.completion_tokens <= 12
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens


@pytest.mark.parametrize("question", ["What is 2+2?", "Tell me a story.", "Say 🙂 é 日本 to me."])
def test_a_stream_says_what_the_whole_answer_says(
    client: OpenAI, model: str, question: str
) -> None:
    request = {"model": model, "messages": user(question), "temperature": 0, "max_tokens": 40}
    whole = client.chat.completions.create(**request)
    chunks = list(
        client.chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens


def test_several_choices_are_interleaved_by_index(client: OpenAI, model: str) -> None:
    request = {"model": model, "messages": user("Tell me a story."), "n": 3, "seed": 5}
    request |= {"temperature": 1.5, "max_tokens": 10, "extra_body": {"ignore_eos": True}}
    whole = client.chat.completions.create(**request)
    texts, roles, reasons = ["", "", ""], [0, 0, 0], [None, None, None]
    for chunk in client.chat.completions.create(**request, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        roles[choice.index] += choice.delta.role == "assistant"
        reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [choice.message.content for choice in whole.choices]
    assert roles == [1, 1, 1]
    assert reasons == ["length"] * 3


def test_streamed_log_probabilities_equal_those_of_the_whole_answer(
    client: OpenAI, model: str
) -> None:
    request = {"model": model, "messages": user("What is 2+2?"), "temperature": 0}
    request |= {"max_tokens": 10, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**request).choices[0].logprobs.content
    streamed = []
    for chunk in client.chat.completions.create(**request, stream=True):
        streamed.extend(chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else [])
    assert [token.token for token in streamed] == [token.token for token in whole]
    for ours, theirs in zip(streamed, whole):
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-3)
        assert [top.token for top in ours.top_logprobs] == [t.token for t in theirs.top_logprobs]


def test_a_stop_string_is_never_half_said(client: OpenAI, model: str) -> None:
    request = {"model": model, "messages": user("Tell me a story."), "temperature": 0}
    text = client.chat.completions.create(**request, max_tokens=40).choices[0].message.content
    stop = text[20:26]
    stream = client.chat.completions.create(**request, max_tokens=40, stop=stop, stream=True)
    chunks = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == text[: text.find(stop)]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_every_event_is_flushed_on_its_own(tandem: Tandem, port: int, model: str) -> None:
    """An HTTP chunk that held two events would have waited for the second one."""
    body = {"model": model, "messages": user("Tell me a story."), "stream": True}
    body |= {"max_tokens": 30, "ignore_eos": True, "temperature": 0}
    with EventStream(port, CHAT, body) as stream:
        chunks = [chunk for _, chunk in stream.chunks()]
        assert stream.complete
    assert [len(event_data(chunk.decode())) for chunk in chunks] == [1] * len(chunks)
    assert len(chunks) > 20


def test_the_first_event_arrives_while_the_answer_is_being_made(
    tandem: Tandem, port: int, model: str
) -> None:
    body = {"model": model, "messages": user("Tell me a story."), "stream": True}
    body |= {"max_tokens": 400, "ignore_eos": True, "temperature": 0}
    with EventStream(port, CHAT, body) as stream:
        chunks = stream.chunks()
        first, _ = next(chunks)
        running = tandem.metrics().value("dynamo_frontend_inflight_requests", model=model)
        last = first
        for last, _ in chunks:
            pass
        assert stream.complete
    assert running >= 1, "the answer was complete before its first event was sent"
    assert first < last / 2, f"first event after {first:.3f} s of {last:.3f} s"


def test_the_raw_iterator_of_the_sdk_sees_done(client: OpenAI, model: str) -> None:
    """The SDK hides `[DONE]`; the bytes below it must end with it."""
    with client.chat.completions.with_streaming_response.create(
        model=model, messages=user("What is 2+2?"), max_tokens=4, temperature=0, stream=True
    ) as response:
        text = "".join(response.iter_text())
    assert event_data(text)[-1] == "[DONE]"
