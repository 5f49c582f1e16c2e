"""Answers that are given again, through Envoy."""

from __future__ import annotations

import json

import pytest

from envoy_process import Envoy
from prompts import user
from raw_http import event_data, post, request
from router_process import Router
from test_errors import CHAT
from upstream import Stream, Upstream

MODES = ["buffered", "streamed", "duplex"]


def ask(question: str, **more: object) -> dict:
    return {"model": "MoM", "messages": user(question), **more}


@pytest.mark.parametrize("mode", MODES)
def test_a_question_is_answered_once(mode: str, envoy: Envoy, upstream: Upstream) -> None:
    door = envoy.port(mode)
    first = post(door, CHAT, ask(f"When does the {mode} timetable change?"))
    assert (first.status, first.headers.get("x-vsr-cache-hit")) == (200, None)
    assert upstream.last().path == CHAT
    again = post(door, CHAT, ask(f"When does the {mode} timetable change?"))
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["x-vsr-cache-hit"] == "true"
    assert again.headers["x-vsr-selected-model"] == "small"
    # Another way to ask the same, and another question.
    similar = post(door, CHAT, ask(f"please tell me when the {mode} timetable changes"))
    assert (similar.body, "x-vsr-cache-similarity" in similar.headers) == (first.body, True)
    assert upstream.nothing()
    other = post(door, CHAT, ask(f"Why does the {mode} timetable change?"))
    assert other.headers.get("x-vsr-cache-hit") is None
    assert upstream.last().path == CHAT


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_is_given_again_to_the_byte(mode: str, envoy: Envoy, upstream: Upstream) -> None:
    question = ask(f"Is the {mode} timetable right?", stream=True)
    upstream.stream = Stream()
    for number, reason in enumerate([None, None, "stop"]):
        choice = {"index": 0, "delta": {"content": f" {number}"}, "finish_reason": reason}
        upstream.stream.send(json.dumps({"id": "x", "choices": [choice]}))
    upstream.stream.send("[DONE]")
    upstream.stream.end()
    first = post(envoy.port(mode), CHAT, question)
    assert upstream.last().path == CHAT
    again = post(envoy.port(mode), CHAT, question)
    assert (again.headers["x-vsr-cache-hit"], again.body) == ("true", first.body)
    assert again.headers["content-type"].startswith("text/event-stream")
    assert event_data(again.text)[-1] == "[DONE]"
    assert upstream.nothing()


def test_answers_are_counted_and_dropped(
    envoy: Envoy, upstream: Upstream, chooser: Router
) -> None:
    door, question = envoy.port("buffered"), ask("Whose timetable is it?")
    post(door, CHAT, question)
    assert upstream.last().path == CHAT
    assert post(door, CHAT, question).headers["x-vsr-cache-hit"] == "true"
    stats = request(chooser.api, "GET", "/api/v1/response-cache/stats").json()
    assert stats["entries"] >= 1, stats
    dropped = post(
        chooser.api, "/api/v1/response-cache/invalidate", {"decision": "timetable_decision"}
    )
    assert dropped.status == 200, dropped
    assert post(door, CHAT, question).headers.get("x-vsr-cache-hit") is None
    assert upstream.last().path == CHAT
