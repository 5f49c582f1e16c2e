"""LoRA adapters: models of their own, beside the model that they change, over the same workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai import NotFoundError, OpenAI

from adapter_files import write_adapter
from cluster import Cluster, body, eventually, wait_for_instances
from openai_client import sdk
from prompts import BLOCK_SIZE, long_messages, user
from raw_http import post
from tandem_process import MODEL, Tandem

CHAT = "/v1/chat/completions"

ROUTED = """
model_config:
  tandem-nano-chat: {loras: [{name: poet}]}
default_model: tandem-nano-chat
keyword_rules: [{name: verse, operator: OR, keywords: [poem]}]
decisions:
  - name: verse
    priority: 10
    rules: {operator: AND, conditions: [{type: keyword, name: verse}]}
    modelRefs: [{model: tandem-nano-chat, lora_name: poet, use_reasoning: false}]
"""


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(directory / name, seed) for seed, name in enumerate(("poet", "clerk"))}


def modules(adapters: dict[str, Path], *names: str) -> list[str]:
    return ["--lora-modules", *(f"{name}={adapters[name]}" for name in names)]


@pytest.fixture(scope="module")
def server(up: Callable[..., Tandem], adapters: dict[str, Path]) -> Iterator[Tandem]:
    with up(*modules(adapters, "poet", "clerk")) as running:
        yield running


@pytest.fixture
def both(server: Tandem) -> Iterator[OpenAI]:
    with sdk(server.frontend) as client:
        yield client


def ask(client: OpenAI, model: str, messages: list[dict[str, str]], **members):
    return client.chat.completions.create(
        model=model, messages=messages, max_tokens=16, temperature=0, **members
    )


def test_each_adapter_answers_under_its_name(both: OpenAI) -> None:
    texts = {name: ask(both, name, user("Tell me a story.")).choices[0].message.content for name in (MODEL, "poet", "clerk")}
    assert len(set(texts.values())) == 3, texts
    for name, text in texts.items():
        answer = ask(both, name, user("Tell me a story."))
        assert (answer.model, answer.choices[0].message.content) == (name, text)


def test_adapters_are_listed_with_their_model(both: OpenAI) -> None:
    listed = {model.id: getattr(model, "parent", None) for model in both.models.list()}
    assert listed == {MODEL: None, "poet": MODEL, "clerk": MODEL}


def test_cached_prompts_are_those_of_one_adapter(both: OpenAI) -> None:
    for name in ("poet", "clerk", MODEL):
        for again in (False, True):
            usage = ask(both, name, long_messages("lemon")).usage
            cached = usage.prompt_tokens_details.cached_tokens
            # The first words of every conversation are the same.
            assert cached >= 36 * BLOCK_SIZE if again else cached <= 4 * BLOCK_SIZE, (name, again, cached)


def test_streams_and_completions_know_them_too(both: OpenAI) -> None:
    whole = ask(both, "poet", user("Hello")).choices[0].message.content
    stream = ask(both, "poet", user("Hello"), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole
    texts = {
        name: both.completions.create(model=name, prompt="The sea", max_tokens=8, temperature=0).choices[0].text
        for name in (MODEL, "poet")
    }
    assert texts[MODEL] != texts["poet"]


def test_unknown_adapters_are_unknown_models(both: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="painter"):
        ask(both, "painter", user("Hello"))


def test_the_router_chooses_an_adapter(
    up: Callable[..., Tandem], adapters: dict[str, Path], tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(ROUTED)
    with up("--config", str(config), *modules(adapters, "poet")) as running:
        question = {"max_tokens": 4, "messages": user("Write a poem about the sea.")}
        answer = post(running.gateway, CHAT, {"model": "auto", **question})
        assert answer.status == 200, answer
        assert answer.headers["x-vsr-selected-model"] == "poet"
        assert answer.json()["model"] == "poet"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--lora-modules", "poet"], "NAME=PATH"),
        (["--lora-modules", "poet=/no/such/adapter"], "/no/such/adapter"),
        (["--lora-modules", "poet={poet}", "poet={clerk}"], 'more than one model "poet"'),
        (["--lora-modules", MODEL + "={poet}"], f'more than one model "{MODEL}"'),
    ],
)
def test_what_is_no_adapter_is_refused(
    run: Callable[..., Tandem], adapters: dict[str, Path], cache_dir: Path, flags: list[str], says: str
) -> None:
    flags = [flag.format(**adapters) for flag in flags]
    ports = ("--port", "0", "--frontend-port", "0", "--cache-dir", str(cache_dir))
    with run("up", *ports, *flags) as failed:
        assert failed.wait(30) != 0
        assert says in failed.story(), failed.story()


def test_only_workers_that_have_an_adapter_are_asked(cluster: Cluster, adapters: dict[str, Path]) -> None:
    plain = cluster.worker("--threads", "1")
    holder = cluster.worker("--threads", "1", *modules(adapters, "poet"))
    frontend = cluster.frontend()
    for node in (plain, holder, frontend):
        node.wait_until_ready()
    wait_for_instances(frontend, 2)
    # An adapter is a model of its own, which the frontend may learn of after its workers.
    listed = lambda: {model["id"] for model in frontend.get("/v1/models").json()["data"]}
    eventually(lambda: "poet" in listed())
    keys = cluster.keys()
    assert f"v1/mdc/dynamo/backend/generate/{holder.instance}/poet" in keys
    assert f"v1/mdc/dynamo/backend/generate/{plain.instance}" in keys
    for _ in range(6):
        answer = post(frontend.frontend, CHAT, body("Hello", model="poet"))
        assert answer.status == 200, answer
    assert (holder.figure("requests_total"), plain.figure("requests_total")) == (6, 0)
    holder.kill()
    eventually(lambda: post(frontend.frontend, CHAT, body("Hello", model="poet")).status == 404, timeout=30)
    assert post(frontend.frontend, CHAT, body("Hello")).status == 200
