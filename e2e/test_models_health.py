"""What is served, whether it is healthy, and what is counted."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from prompts import user
from raw_http import post
from tandem_process import Tandem


def test_the_frontend_lists_the_served_model(frontend: OpenAI, model: str) -> None:
    models = list(frontend.models.list())
    assert [one.id for one in models] == [model]
    assert models[0].object == "model"
    assert models[0].owned_by
    assert models[0].created > 1_700_000_000


def test_the_gateway_lists_the_automatic_model_too(gateway: OpenAI, model: str) -> None:
    names = {one.id for one in gateway.models.list()}
    assert {"MoM", model} <= names


def test_one_model_is_found_by_name(client: OpenAI, model: str) -> None:
    assert client.models.retrieve(model).id == model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("made-up")


def test_health_is_an_answer_with_instances(tandem: Tandem) -> None:
    response = tandem.get("/health")
    assert response.status == 200
    body = response.json()
    assert body["status"] == "healthy"
    assert len(body["instances"]) == 2, "one prefill and one decode worker"
    assert len(body["endpoints"]) == 2


@pytest.mark.parametrize("path", ["/health", "/live"])
def test_probes_work_on_both_ports(tandem: Tandem, port: int, path: str) -> None:
    response = tandem.get(path, port)
    assert response.status == 200
    assert response.json()["status"]


def test_metrics_are_openmetrics_on_both_ports(tandem: Tandem, port: int) -> None:
    response = tandem.get("/metrics", port)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    metrics = tandem.metrics(port)
    assert metrics.samples


def test_requests_are_counted_by_endpoint_and_form(
    tandem: Tandem, frontend: OpenAI, model: str
) -> None:
    def count(endpoint: str, form: str) -> float:
        return tandem.metrics().value(
            "dynamo_frontend_requests_total",
            model=model,
            endpoint=endpoint,
            request_type=form,
            status="success",
        )

    before = [
        count(endpoint, form)
        for endpoint in ("chat_completions", "completions")
        for form in ("unary", "stream")
    ]
    chat = {"model": model, "messages": user("What is 2+2?"), "max_tokens": 2}
    text = {"model": model, "prompt": "Once", "max_tokens": 2}
    frontend.chat.completions.create(**chat)
    list(frontend.chat.completions.create(**chat, stream=True))
    frontend.completions.create(**text)
    list(frontend.completions.create(**text, stream=True))
    after = [
        count(endpoint, form)
        for endpoint in ("chat_completions", "completions")
        for form in ("unary", "stream")
    ]
    assert [now - then for now, then in zip(after, before)] == [1, 1, 1, 1]


def test_nothing_is_in_flight_when_nothing_is_asked(tandem: Tandem) -> None:
    tandem.wait_for_metric(
        lambda metrics: metrics.value("dynamo_frontend_inflight_requests") == 0
        and metrics.value("dynamo_frontend_queued_requests") == 0
    )


def test_latencies_are_observed(tandem: Tandem, frontend: OpenAI, model: str) -> None:
    names = [
        f"dynamo_frontend_{name}_count"
        for name in (
            "request_duration_seconds",
            "time_to_first_token_seconds",
            "inter_token_latency_seconds",
            "input_sequence_tokens",
            "output_sequence_tokens",
        )
    ]
    before = tandem.metrics()
    frontend.completions.create(model=model, prompt="Once", max_tokens=4)
    after = tandem.metrics()
    for name in names:
        assert after.value(name, model=model) > before.value(name, model=model), name


def test_every_metric_is_documented(tandem: Tandem, gateway: OpenAI) -> None:
    """Names are an interface: one that docs/metrics.md does not have is a mistake in either."""
    gateway.chat.completions.create(model="MoM", messages=user("What is 2+2?"), max_tokens=1)
    documented = (Path(__file__).parent.parent / "docs/metrics.md").read_text()
    for door in (tandem.frontend, tandem.gateway):
        names = {re.sub("_(bucket|sum|created)$", "", one) for one in tandem.metrics(door).names()}
        counts = {one for one in names if one.endswith("_count") and one[:-6] in names}
        missing = {one for one in names - counts if f"`{one}`" not in documented}
        assert not missing


def test_a_request_id_comes_back(tandem: Tandem, port: int, model: str) -> None:
    body = {"model": model, "messages": user("hi"), "max_tokens": 1}
    given = post(port, "/v1/chat/completions", body, {"x-request-id": "my-id-1"})
    assert given.headers["x-request-id"] == "my-id-1"
    made = [post(port, "/v1/chat/completions", body).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1] and all(len(one) >= 16 for one in made)
    unfit = post(port, "/v1/chat/completions", body, {"x-request-id": "a" * 4000})
    assert len(unfit.headers["x-request-id"]) <= 128


def test_unknown_models_create_no_series(tandem: Tandem, client: OpenAI, port: int) -> None:
    """Or anybody could fill the memory of the server and of whoever scrapes it."""
    names = [f"made-up-{i}" for i in range(3)]
    for name in names:
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model=name, messages=user("hello"))
        post(port, "/v1/completions", {"model": name, "prompt": "hello"})
    for door in (tandem.frontend, tandem.gateway):
        text = tandem.metrics(door).text
        assert not any(name in text for name in names)


@pytest.mark.parametrize(("said", "offline"), [("1", True), ("ON", True), ("true", True), ("0", False)])
def test_offline_in_the_words_of_the_hubs_own_tools(
    binary: Path, environment: dict[str, str], tmp_path: Path, said: str, offline: bool
) -> None:
    command = [binary, "up", "--model", "nobody/nothing", "--hf-cache", str(tmp_path)]
    env = environment | {"HF_HUB_OFFLINE": said, "HF_ENDPOINT": "http://127.0.0.1:1"}
    # Online, it tries for as long as a hub might be away.
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, log = process.communicate(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            _, log = process.communicate()
    assert ("while offline" in log) is offline, log
    assert "invalid value" not in log
