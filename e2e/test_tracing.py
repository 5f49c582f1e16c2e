"""Spans of a request from the gateway to the workers, as lines on standard output."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from raw_http import post

CHAT = "/v1/chat/completions"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
CONFIG = """
default_model: {model}
model_config: {{{model}: {{}}}}
observability:
  tracing: {{enabled: true, exporter: {{type: stdout}}}}
"""


def spans(server) -> dict[str, dict]:
    """The spans by their names, once the process has ended."""
    server.signal(signal.SIGTERM)
    assert server.wait(20) == 0
    lines = [line for line in server.out.end(5) if line.startswith('{"name"')]
    return {span["name"]: span for span in map(json.loads, lines)}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_request_is_one_trace_through_both_planes(
    up, model: str, tmp_path: Path, stream: bool
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(model=model))
    messages = [{"role": "user", "content": "Tell nobody about XYZZY."}]
    request = {"model": "MoM", "messages": messages, "max_tokens": 4, "stream": stream}
    with up("--config", str(config)) as server:
        caller = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "r-1"}
        assert post(server.gateway, CHAT, request, caller).status == 200
        seen = spans(server)
    assert "XYZZY" not in json.dumps(seen)
    assert {span["trace_id"] for span in seen.values()} == {TRACE}
    received = seen["semantic_router.request.received"]
    assert received["parent_span_id"] == CALLER
    for name in ["semantic_router.upstream.request", "frontend.request"]:
        assert seen[name]["parent_span_id"] == received["span_id"], name
        assert seen[name]["attributes"]["model.name"] == model
    for name in ["frontend.request", "worker.request"]:
        assert seen[name]["attributes"]["request.id"] == "r-1"
    assert seen["worker.request"]["parent_span_id"] == seen["frontend.request"]["span_id"]


def test_a_caller_that_records_nothing_is_followed(up, model: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(model=model))
    request = {"model": "MoM", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    with up("--config", str(config)) as server:
        caller = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
        assert post(server.gateway, CHAT, request, caller).status == 200
        assert spans(server) == {}
