"""Answers that `tandem gateway` gives again, and its API for them."""

from __future__ import annotations

import re
from pathlib import Path

from prompts import user
from raw_http import post, request
from test_errors import CHAT
from upstream import Upstream

CACHE = "/api/v1/response-cache"
QUESTION = {"model": "m", "messages": user("What is the capital of Peru?")}


def test_answers_are_shown_and_dropped(
    start_gateway, tmp_path: Path, upstream: Upstream
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"""
version: v0.3
providers: {{models: [{{name: m, backend_refs: [{{endpoint: '127.0.0.1:{upstream.port}'}}]}}]}}
global: {{stores: {{response_cache: {{enabled: true}}}}}}
""")
    with start_gateway(file, "--api-port", "0") as gateway:
        line = gateway.out.wait_for(r"^gateway ")
        api = int(re.search(r"api http://127\.0\.0\.1:(\d+)$", line)[1])
        first = post(gateway.gateway, CHAT, QUESTION)
        again = post(gateway.gateway, CHAT, QUESTION)
        assert (again.headers["x-vsr-cache-hit"], again.body) == ("true", first.body)
        assert request(api, "GET", f"{CACHE}/stats").json()["entries"] == 1
        assert post(api, f"{CACHE}/flush", b"").status == 200
        assert post(gateway.gateway, CHAT, QUESTION).headers.get("x-vsr-cache-hit") is None
    assert upstream.seen.qsize() == 2
