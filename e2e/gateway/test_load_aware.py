"""Models of close scores, behind two real frontends: the load and the caches of their workers decide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import CHAT, Cluster, Crowd, body, eventually, wait_for_instances
from gateway_process import Gateway
from prompts import long_text
from raw_http import post, request


def config(east: int, west: int) -> str:
    return f"""
version: v0.3
providers:
  models:
    - {{name: east, backend_refs: [{{endpoint: '127.0.0.1:{east}'}}]}}
    - {{name: west, backend_refs: [{{endpoint: '127.0.0.1:{west}'}}]}}
routing:
  signals: {{keywords: [{{name: plant, operator: OR, keywords: [heather, rowan, bracken, gorse]}}]}}
  decisions:
    - name: plant
      rules: {{operator: OR, conditions: [{{type: keyword, name: plant}}]}}
      algorithm: {{type: static, load_aware: true, load_tolerance: 0.1}}
      modelRefs: [{{model: east, weight: 1}}, {{model: west, weight: 0.95}}]
tandem: {{security: {{jailbreak: {{enabled: false}}, pii: {{enabled: false}}}}}}
"""


@pytest.fixture(scope="module")
def ports(cluster: Cluster) -> Iterator[dict[str, int]]:
    """Frontends by the model that they serve, each with a worker of its own."""
    nodes = []
    for model in ("east", "west"):
        scope = ("--namespace", f"load-{model}")
        mock = ("--engine", "mock", "--served-model-name", model, "--kv-blocks", "100")
        nodes.append(cluster.worker(*mock, *scope).wait_until_ready())
        nodes.append(cluster.frontend(*scope).wait_until_ready())
        wait_for_instances(nodes[-1], 1)
    yield {"east": nodes[1].frontend, "west": nodes[3].frontend}
    for node in nodes:
        node.stop()


@pytest.fixture(scope="module")
def gateway(start_gateway, tmp_path_factory, ports: dict[str, int]) -> Iterator[Gateway]:
    file: Path = tmp_path_factory.mktemp("load-aware") / "config.yaml"
    file.write_text(config(**ports))
    with start_gateway(file) as process:
        yield process


def chosen(gateway: Gateway, text: str) -> str:
    answer = post(gateway.gateway, CHAT, body(text, 1, "MoM"))
    assert answer.status == 200, answer
    return answer.headers["x-vsr-selected-model"]


def test_a_prompt_goes_where_it_is_cached(gateway: Gateway, ports: dict[str, int]) -> None:
    eventually(lambda: chosen(gateway, long_text("gorse")) == "east")
    text = long_text("bracken")
    assert post(ports["west"], CHAT, body(text, 1, "west")).status == 200
    eventually(lambda: chosen(gateway, f"{text} What is it?") == "west")


def test_a_busy_frontend_loses_to_an_idle_one(gateway: Gateway, ports: dict[str, int]) -> None:
    load = lambda: request(ports["east"], "GET", "/load").json()
    polls = lambda: gateway.metrics().value("tandem_gateway_load_polls_total", result="ok")
    with Crowd(6) as crowd:
        texts = [f"{number} {long_text('heather')}" for number in range(6)]
        crowd.ask([ports["east"]], texts, 900, "east")
        # A question that went to the busy one would wait until it is idle.
        eventually(lambda: load()["models"]["east"]["queued_prefill_tokens"] > 1000)
        asked = polls()
        eventually(lambda: polls() >= asked + 4)
        assert chosen(gateway, long_text("rowan")) == "west"
        assert crowd.running() > 0
    choices = "tandem_gateway_load_aware_choices_total"
    assert gateway.metrics().value(choices, model="west", by="load") >= 1
