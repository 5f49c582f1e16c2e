"""One worker computes the prompt, another one the answer; and cached prompts are not computed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from openai_client import sdk
from openmetrics import Metrics
from prompts import BLOCK_SIZE, LONG_TOKENS, long_messages, user
from tandem_process import Tandem

REMOTE = "dynamo_frontend_remote_prefills_total"
LOCAL = "dynamo_frontend_local_prefills_total"
COMPUTED = "tandem_worker_prefill_tokens_computed_total"


@pytest.fixture(scope="module")
def alone(up) -> Iterator[Tandem]:
    """One worker that does everything."""
    with up("--workers", "both=1") as server:
        yield server


class Change:
    """How counters changed between its creation and `now`."""

    def __init__(self, tandem: Tandem) -> None:
        self.tandem = tandem
        self.before = tandem.metrics()
        self.mark = tandem.log.mark()

    def now(self) -> Metrics:
        return self.tandem.metrics()

    def of(self, name: str, **labels: str) -> float:
        return self.now().value(name, **labels) - self.before.value(name, **labels)

    def computed(self) -> dict[str, float]:
        """Prompt tokens that each worker computed."""
        return {
            dict(sample.labels)["worker"]: sample.value
            - self.before.value(COMPUTED, **dict(sample.labels))
            for sample in self.now().series(COMPUTED)
        }


def ask(client: OpenAI, model: str, messages: list[dict[str, str]], tokens: int = 4):
    return client.chat.completions.create(
        model=model, messages=messages, max_tokens=tokens, temperature=0
    )


def test_a_long_prompt_is_computed_by_the_prefill_worker(
    tandem: Tandem, frontend: OpenAI, model: str
) -> None:
    change = Change(tandem)
    answer = ask(frontend, model, long_messages("willow"))
    prompt = answer.usage.prompt_tokens
    assert prompt in LONG_TOKENS
    assert change.of(REMOTE, model=model) == 1
    assert change.of(LOCAL, model=model) == 0
    assert change.of("dynamo_frontend_prefill_fallbacks_total") == 0
    computed = sorted(change.computed().values())
    assert len(computed) == 2, "each worker counts what it computes"
    decode, prefill = computed
    assert decode <= 1, "the decode worker computed tokens that it received"
    assert prompt - 1 <= prefill <= prompt


def test_a_short_prompt_stays_with_the_decode_worker(
    tandem: Tandem, frontend: OpenAI, model: str
) -> None:
    change = Change(tandem)
    answer = ask(frontend, model, user("Hi"))
    assert answer.usage.prompt_tokens <= 32
    assert change.of(LOCAL, model=model) == 1
    assert change.of(REMOTE, model=model) == 0


def test_a_repeated_prompt_is_served_from_the_cache(
    tandem: Tandem, frontend: OpenAI, model: str
) -> None:
    """Two identical prompts of 600 tokens: the log says how much of each was cached."""
    messages = long_messages("heather")
    change = Change(tandem)
    first = ask(frontend, model, messages)
    assert first.usage.prompt_tokens in LONG_TOKENS
    blocks = (first.usage.prompt_tokens - 1) // BLOCK_SIZE
    assert blocks >= 36
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    cold = tandem.selections(change.mark)
    assert cold and all(cached == 0 for _, cached in cold), cold

    again = Change(tandem)
    second = ask(frontend, model, messages)
    assert second.choices[0].message.content == first.choices[0].message.content
    assert [cached for _, cached in tandem.selections(again.mark)] == [blocks]
    assert again.of(LOCAL, model=model) == 1, "a cached prompt needs no prefill worker"
    assert again.of(REMOTE, model=model) == 0
    assert second.usage.prompt_tokens_details.cached_tokens == blocks * BLOCK_SIZE
    assert again.of("dynamo_frontend_cached_tokens_total", model=model) == blocks * BLOCK_SIZE
    assert sum(again.computed().values()) == second.usage.prompt_tokens - blocks * BLOCK_SIZE


def test_a_shared_beginning_is_reused(tandem: Tandem, frontend: OpenAI, model: str) -> None:
    """Another question about a text that was read before."""
    (message,) = long_messages("juniper")
    ask(frontend, model, [message])
    change = Change(tandem)
    other = {**message, "content": message["content"] + " And what did the painter do after that?"}
    answer = ask(frontend, model, [other])
    cached = answer.usage.prompt_tokens_details.cached_tokens
    assert cached >= 36 * BLOCK_SIZE
    assert max(cached for _, cached in tandem.selections(change.mark)) >= 36


def test_the_next_turn_reuses_the_previous_answer(
    tandem: Tandem, frontend: OpenAI, model: str
) -> None:
    """What was generated is cached as well as what was asked."""
    messages = user("Tell me a story.")
    first = frontend.chat.completions.create(
        model=model, messages=messages, max_tokens=120, temperature=0
    )
    text = first.choices[0].message.content
    turns = [*messages, {"role": "assistant", "content": text}, *user("What happened then?")]
    second = ask(frontend, model, turns)
    cached = second.usage.prompt_tokens_details.cached_tokens
    assert cached % BLOCK_SIZE == 0
    assert cached > first.usage.prompt_tokens, "only the question was reused, not the answer"


@pytest.mark.parametrize(
    "messages",
    [
        user("What is 2+2?"),
        user("Tell me a story about a boat and a river and the people who live there."),
        long_messages("rowan"),
        long_messages("sorrel"),
    ],
    ids=["short", "medium", "long", "longer"],
)
def test_answers_are_those_of_one_worker(
    frontend: OpenAI, alone: Tandem, model: str, messages: list[dict[str, str]]
) -> None:
    with sdk(alone.frontend) as client:
        expected = ask(client, model, messages, tokens=32)
    apart = ask(frontend, model, messages, tokens=32)
    cached = ask(frontend, model, messages, tokens=32)
    assert apart.choices[0].message.content == expected.choices[0].message.content
    assert cached.choices[0].message.content == expected.choices[0].message.content
    assert apart.usage.completion_tokens == expected.usage.completion_tokens


def test_one_worker_alone_needs_no_prefill_worker(alone: Tandem, model: str) -> None:
    change = Change(alone)
    with sdk(alone.frontend) as client:
        answer = ask(client, model, long_messages("bracken"))
    assert change.of(REMOTE) == 0
    assert change.of("dynamo_frontend_prefill_fallbacks_total") == 0
    (computed,) = change.computed().values()
    assert computed in (answer.usage.prompt_tokens, answer.usage.prompt_tokens - 1)


def test_the_threshold_is_a_flag(up, model: str) -> None:
    with up("--max-local-prefill", "4000") as server, sdk(server.frontend) as client:
        change = Change(server)
        ask(client, model, long_messages("willow"))
        assert change.of(LOCAL) == 1
        assert change.of(REMOTE) == 0
