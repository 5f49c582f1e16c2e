"""Answers of a given form, through the OpenAI SDK: by default, a prefill and a decode worker make them."""

from __future__ import annotations

import json
import re

import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel

from prompts import user
from raw_http import EventStream
from tandem_process import Tandem


NAME = "tandem_worker_running_requests"


class Place(BaseModel):
    name: str
    inhabitants: int


class Journey(BaseModel):
    days: int
    by_train: bool
    through: list[Place]


BOUNDED = {
    "type": "object",
    "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 30}, "by": {"enum": ["train", "boat"]}},
    "required": ["days", "by"],
    "additionalProperties": False,
}


def test_a_schema_of_the_sdk(client: OpenAI, model: str) -> None:
    """`parse` sends the schema of a class, with references, and reads the answer as one."""
    parsed = 0
    for seed in range(6):
        answer = client.chat.completions.create(
            model=model,
            messages=user("Plan a journey."),
            max_tokens=200,
            seed=seed,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "journey", "strict": True, "schema": Journey.model_json_schema()},
            },
        )
        choice = answer.choices[0]
        # Lists and names have no end of their own: a small model may run out of tokens.
        if choice.finish_reason == "stop":
            Journey.model_validate_json(choice.message.content)
            parsed += 1
    assert parsed


def test_bounded_forms_always_end(client: OpenAI, model: str) -> None:
    for seed in range(4):
        answer = client.chat.completions.create(
            model=model,
            messages=user("How far is it?"),
            max_tokens=64,
            seed=seed,
            extra_body={"guided_json": BOUNDED},
        )
        assert answer.choices[0].finish_reason == "stop"
        value = json.loads(answer.choices[0].message.content)
        assert set(value) == {"days", "by"} and 1 <= value["days"] <= 30, value
        assert value["by"] in {"train", "boat"}


@pytest.mark.parametrize(
    "members",
    [
        {"guided_choice": ["red", "green"]},
        {"structured_outputs": {"choice": ["red", "green"]}},
        {"guided_regex": "red|green"},
        {"guided_grammar": 'start: "red" | "green"'},
    ],
)
def test_every_way_to_say_it(client: OpenAI, model: str, members: dict) -> None:
    answer = client.chat.completions.create(
        model=model, messages=user("A colour?"), max_tokens=16, extra_body=members
    )
    assert answer.choices[0].message.content in {"red", "green"}
    text = client.completions.create(model=model, prompt="A colour:", max_tokens=16, extra_body=members)
    assert text.choices[0].text in {"red", "green"}


def test_several_choices_streamed(frontend: OpenAI, model: str) -> None:
    texts = {0: "", 1: "", 2: ""}
    stream = frontend.chat.completions.create(
        model=model,
        messages=user("A time?"),
        n=3,
        max_tokens=16,
        stream=True,
        extra_body={"guided_regex": "[0-2][0-9]:[0-5][0-9]"},
    )
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert all(re.fullmatch("[0-2][0-9]:[0-5][0-9]", text) for text in texts.values()), texts


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"guided_regex": "a("}, "form"),
        ({"guided_json": {"type": "strin"}}, "form"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_json": {}, "guided_choice": ["a"]}, "contradicts"),
        ({"response_format": {"type": "json_schema"}}, "json_schema"),
    ],
)
def test_what_is_no_form_is_a_bad_request(
    client: OpenAI, model: str, members: dict, says: str
) -> None:
    with pytest.raises(BadRequestError, match=says):
        client.chat.completions.create(model=model, messages=user("Hi"), extra_body=members)


def test_one_that_hangs_up_leaves_nothing(tandem: Tandem, model: str) -> None:
    body = {"model": model, "messages": user("Go on."), "stream": True, "max_tokens": 400}
    body |= {"guided_regex": "[a-z ]{300,}"}
    with EventStream(tandem.frontend, "/v1/chat/completions", body) as stream:
        next(iter(stream.chunks()))

    def idle(metrics) -> bool:
        found = [metrics.value(NAME, worker=worker) for worker in ("backend-1", "prefill-1")]
        return sum(found) == 0

    tandem.wait_for_metric(idle)
