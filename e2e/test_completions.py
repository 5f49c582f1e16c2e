"""`POST /v1/completions`, through the OpenAI SDK."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from openai import OpenAI

PROMPT = "The old baker walked to the market and"


def complete(client: OpenAI, model: str, prompt, **request):
    request = {"max_tokens": 8, "temperature": 0, **request}
    return client.completions.create(model=model, prompt=prompt, **request)


def test_a_text_is_continued(client: OpenAI, model: str) -> None:
    answer = complete(client, model, PROMPT)
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert answer.model == model
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_sixteen_tokens_are_the_default(client: OpenAI, model: str) -> None:
    answer = client.completions.create(
        model=model, prompt=PROMPT, temperature=0, extra_body={"ignore_eos": True}
    )
    assert answer.usage.completion_tokens == 16
    assert answer.choices[0].finish_reason == "length"


def test_prompts_come_in_every_form(client: OpenAI, model: str) -> None:
    text = complete(client, model, PROMPT).choices[0].text
    one = complete(client, model, [PROMPT])
    assert [choice.text for choice in one.choices] == [text]
    batch = complete(client, model, [PROMPT, "Once upon a time", PROMPT])
    assert [choice.index for choice in batch.choices] == [0, 1, 2]
    assert [batch.choices[0].text, batch.choices[2].text] == [text, text]
    assert batch.choices[1].text == complete(client, model, "Once upon a time").choices[0].text
    tokens = complete(client, model, [100, 200, 300])
    assert tokens.usage.prompt_tokens == 3
    lists = complete(client, model, [[100, 200, 300], [100, 200]])
    assert lists.usage.prompt_tokens == 5
    assert lists.choices[0].text == tokens.choices[0].text


def test_token_ids_mean_what_their_text_means(client: OpenAI, model: str) -> None:
    directory = Path(__file__).parent.parent / "models" / model
    vocabulary = json.loads((directory / "tokenizer.json").read_text())["model"]["vocab"]
    # Words that are one token each; a space is written as "Ġ" in a byte-level vocabulary.
    tokens = [vocabulary[token] for token in ("The", "Ġold", "Ġman", "Ġwent", "Ġto", "Ġthe")]
    by_text = complete(client, model, "The old man went to the")
    by_tokens = complete(client, model, tokens)
    assert by_tokens.usage.prompt_tokens == by_text.usage.prompt_tokens == len(tokens)
    assert by_tokens.choices[0].text == by_text.choices[0].text


def test_each_prompt_gets_its_own_choices(client: OpenAI, model: str) -> None:
    answer = complete(client, model, [PROMPT, "Once upon a time"], n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    texts = [choice.text for choice in answer.choices]
    assert texts[0] == texts[1] and texts[2] == texts[3] and texts[0] != texts[2]


def test_a_stream_says_what_the_whole_answer_says(client: OpenAI, model: str) -> None:
    whole = complete(client, model, PROMPT, max_tokens=24)
    chunks = list(
        complete(
            client,
            model,
            PROMPT,
            max_tokens=24,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *deltas, last = chunks
    assert "".join(chunk.choices[0].text for chunk in deltas) == whole.choices[0].text
    assert deltas[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert last.choices == []
    assert last.usage.completion_tokens == whole.usage.completion_tokens
    assert {chunk.object for chunk in chunks} == {"text_completion"}


def test_log_probabilities_come_in_columns(client: OpenAI, model: str) -> None:
    answer = complete(client, model, PROMPT, logprobs=2, extra_body={"ignore_eos": True})
    columns = answer.choices[0].logprobs
    count = answer.usage.completion_tokens
    assert count == 8
    assert len(columns.tokens) == len(columns.token_logprobs) == len(columns.text_offset) == count
    assert columns.text_offset[0] == 0
    assert columns.text_offset == sorted(columns.text_offset)
    for token, logprob, top in zip(columns.tokens, columns.token_logprobs, columns.top_logprobs):
        assert len(top) == 2
        assert top[token] == pytest.approx(logprob, abs=1e-4)
        assert logprob == pytest.approx(max(top.values()), abs=1e-4)
        assert sum(math.exp(value) for value in top.values()) <= 1.001


def test_stop_strings_and_limits(client: OpenAI, model: str) -> None:
    text = complete(client, model, PROMPT, max_tokens=24).choices[0].text
    stop = text[10:14]
    answer = complete(client, model, PROMPT, max_tokens=24, stop=[stop])
    assert answer.choices[0].text == text[: text.find(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_a_seed_fixes_sampled_answers(client: OpenAI, model: str) -> None:
    def sample(seed: int) -> str:
        body = {"top_k": 200, "min_p": 0.0, "ignore_eos": True}
        answer = complete(client, model, PROMPT, temperature=1.8, seed=seed, extra_body=body)
        return answer.choices[0].text

    assert sample(11) == sample(11)
    assert len({sample(seed) for seed in range(11, 15)}) > 1


def test_echo_repeats_the_prompt_or_is_refused(client: OpenAI, model: str) -> None:
    """Whatever is decided, a member that the API documents must not be ignored in silence."""
    raw = client.completions.with_raw_response
    try:
        answer = raw.create(model=model, prompt=PROMPT, max_tokens=4, temperature=0, echo=True)
    except Exception as error:
        assert getattr(error, "status_code", None) == 400, error
        assert error.param == "echo"
    else:
        assert answer.parse().choices[0].text.startswith(PROMPT)
