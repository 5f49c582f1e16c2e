"""`POST /v1/chat/completions`, whole answers, through the OpenAI SDK."""

from __future__ import annotations

import math

import pytest
from openai import OpenAI

from prompts import SEED_REQUEST, user
from raw_http import post
from tandem_process import Tandem

ROUTER_HEADERS = {
    "x-vsr-selected-category": "math",
    "x-vsr-selected-reasoning": "on",
    "x-vsr-injected-system-prompt": "true",
}


def check_usage(usage) -> None:
    assert usage.prompt_tokens > 0 and usage.completion_tokens > 0, usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage


def test_the_seeds_request_as_curl_sends_it(tandem: Tandem, model: str) -> None:
    response = post(tandem.gateway, "/v1/chat/completions", SEED_REQUEST)
    assert response.status == 200, response
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    assert body["model"] == model
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["role"] == "assistant"
    assert body["choices"][0]["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    sent = {name: value for name, value in response.headers.items() if name in ROUTER_HEADERS}
    assert sent == ROUTER_HEADERS
    assert response.headers["x-vsr-selected-model"] == model
    assert response.headers["x-vsr-selected-decision"] == "math_decision"


@pytest.mark.parametrize("auto", ["MoM", "auto"])
def test_auto_models_are_rewritten(gateway: OpenAI, model: str, auto: str) -> None:
    raw = gateway.chat.completions.with_raw_response.create(
        model=auto, messages=user("What is 2+2?"), temperature=0
    )
    answer = raw.parse()
    assert answer.model == model
    assert answer.id.startswith("chatcmpl-")
    assert answer.choices[0].finish_reason == "stop"
    assert "4" in answer.choices[0].message.content
    check_usage(answer.usage)
    assert raw.headers["x-vsr-selected-model"] == model
    assert raw.headers["x-vsr-selected-category"] == "math"


def test_the_system_prompt_of_the_decision_is_injected(
    gateway: OpenAI, frontend: OpenAI, model: str
) -> None:
    """It makes the prompt longer; a model named by the client is left alone."""
    request = {"messages": user("What is 2+2?"), "max_tokens": 1, "temperature": 0}
    plain = frontend.chat.completions.create(model=model, **request).usage.prompt_tokens
    named = gateway.chat.completions.with_raw_response.create(model=model, **request)
    routed = gateway.chat.completions.with_raw_response.create(model="MoM", **request)
    assert named.parse().usage.prompt_tokens == plain
    assert named.headers["x-vsr-injected-system-prompt"] == "false"
    assert routed.parse().usage.prompt_tokens > plain + 10
    assert routed.headers["x-vsr-injected-system-prompt"] == "true"


def test_the_named_model_answers_on_both_ports(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=user("What is 2+2?"), temperature=0
    )
    assert "4" in answer.choices[0].message.content
    assert answer.model == model
    check_usage(answer.usage)


def test_several_turns_are_all_part_of_the_prompt(client: OpenAI, model: str) -> None:
    def ask(messages: list[dict]):
        return client.chat.completions.create(
            model=model, messages=messages, max_tokens=16, temperature=0, logprobs=True
        )

    turns = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Nice to meet you, Ada."},
        {"role": "user", "content": "What is my name?"},
    ]
    whole = ask(turns)
    last = ask(turns[-1:])
    assert whole.usage.prompt_tokens > last.usage.prompt_tokens + 15
    first_logprobs = [one.choices[0].logprobs.content[0].logprob for one in (whole, last)]
    assert first_logprobs[0] != pytest.approx(first_logprobs[1], abs=1e-6), "history had no effect"
    as_parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    same = ask(as_parts)
    assert same.choices[0].message.content == whole.choices[0].message.content
    assert same.usage.prompt_tokens == whole.usage.prompt_tokens


def test_greedy_choices_are_all_equal(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=user("Count from 1 to 10."), n=3, seed=7, temperature=0, max_tokens=12
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 1
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens % 3 == 0
    check_usage(answer.usage)


def test_a_seed_fixes_sampled_answers(client: OpenAI, model: str) -> None:
    def sample(seed: int) -> list[str]:
        answer = client.chat.completions.create(
            model=model,
            messages=user("Tell me a story."),
            n=3,
            seed=seed,
            temperature=1.8,
            max_tokens=16,
            extra_body={"ignore_eos": True},
        )
        return [choice.message.content for choice in answer.choices]

    first = sample(7)
    assert sample(7) == first
    assert len(set(first)) > 1, "the choices of one request must not share their randomness"
    assert sample(8) != first


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_token_limit_ends_the_answer(client: OpenAI, model: str, name: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=user("Tell me a story."),
        temperature=0,
        extra_body={name: 5, "ignore_eos": True},
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 5


def test_a_stop_string_that_spans_tokens_is_cut_off(client: OpenAI, model: str) -> None:
    request = {"model": model, "messages": user("Tell me a story."), "temperature": 0}
    full = client.chat.completions.create(**request, max_tokens=40, logprobs=True)
    text = full.choices[0].message.content
    tokens = [token.token for token in full.choices[0].logprobs.content]
    assert len(tokens) > 10, text
    pairs = [first[-1:] + second[:2] for first, second in zip(tokens[4:], tokens[5:])]
    stop = next(pair for pair in pairs if text.find(pair) > 8)

    stopped = client.chat.completions.create(**request, max_tokens=40, stop=[stop, "never said"])
    assert stopped.choices[0].message.content == text[: text.find(stop)]
    assert stopped.choices[0].finish_reason == "stop"
    assert stopped.usage.completion_tokens < full.usage.completion_tokens

    kept = client.chat.completions.create(
        **request, max_tokens=40, stop=stop, extra_body={"include_stop_str_in_output": True}
    )
    assert kept.choices[0].message.content == text[: text.find(stop)] + stop


def test_log_probabilities_describe_the_answer(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=user("What is 2+2?"),
        temperature=0,
        max_tokens=8,
        logprobs=True,
        top_logprobs=3,
    )
    choice = answer.choices[0]
    tokens = choice.logprobs.content
    assert len(tokens) == answer.usage.completion_tokens
    said = b"".join(bytes(token.bytes) for token in tokens).decode("utf-8", "replace")
    assert said.startswith(choice.message.content)
    for token in tokens:
        assert len(token.top_logprobs) == 3
        logprobs = [top.logprob for top in token.top_logprobs]
        assert logprobs == sorted(logprobs, reverse=True)
        assert token.logprob == pytest.approx(logprobs[0], abs=1e-4), "greedy takes the best"
        assert sum(math.exp(logprob) for logprob in logprobs) <= 1.001


def test_log_probabilities_are_absent_unless_asked_for(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=user("What is 2+2?"), temperature=0, max_tokens=2
    )
    assert answer.choices[0].logprobs is None


def test_every_sampling_member_is_accepted(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=user("Tell me a story."),
        max_tokens=6,
        temperature=0.9,
        top_p=0.9,
        presence_penalty=0.4,
        frequency_penalty=0.4,
        seed=3,
        user="somebody",
        response_format={"type": "text"},
        extra_body={"top_k": 20, "min_p": 0.02, "repetition_penalty": 1.1, "min_tokens": 2},
    )
    assert 2 <= answer.usage.completion_tokens <= 6


def test_one_candidate_is_greedy(client: OpenAI, model: str) -> None:
    """`top_k` 1 and a tiny `top_p` leave only the best token, whatever the temperature."""

    def ask(**sampling) -> str:
        answer = client.chat.completions.create(
            model=model,
            messages=user("Tell me a story."),
            max_tokens=12,
            extra_body=sampling,
        )
        return answer.choices[0].message.content

    greedy = ask(temperature=0)
    assert ask(temperature=2, top_k=1) == greedy
    assert ask(temperature=1, top_p=0.000001) == greedy
    assert ask(temperature=1, min_p=1.0) == greedy


def test_a_frequency_penalty_changes_a_repetitive_answer(client: OpenAI, model: str) -> None:
    def tokens(penalty: float) -> list[str]:
        answer = client.chat.completions.create(
            model=model,
            messages=user("Say one word again and again."),
            temperature=0,
            max_tokens=60,
            frequency_penalty=penalty,
            logprobs=True,
            extra_body={"ignore_eos": True},
        )
        return [token.token for token in answer.choices[0].logprobs.content]

    plain, penalised = tokens(0), tokens(2)
    assert len(set(penalised)) > len(set(plain))
