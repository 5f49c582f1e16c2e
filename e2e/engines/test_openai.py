"""`tandem worker --engine openai`: in front of a real server of the API, and of one without tokens."""

from __future__ import annotations

import subprocess
import sys

from cluster import CHAT, body, free_port
from fleet import HERE, Fleet
from prompts import long_text
from raw_http import post


def test_a_worker_may_stand_before_another_server(fleet: Fleet) -> None:
    """The server is a frontend of ours, which takes tokens and answers with text."""
    inner, server = fleet.worker("--threads", "1"), fleet.frontend()
    fleet.ready(server, inner)
    text = long_text("oak", 5)
    # Whether the model may end its answer is nothing that all servers can be told.
    asked = body(text, 12, ignore_eos=False)
    expected = post(server.frontend, CHAT, asked).json()
    outer = Fleet(fleet.cluster, fleet.directory)
    try:
        address = f"http://127.0.0.1:{server.frontend}/v1"
        worker = outer.worker("--engine", "openai", "--engine-url", address)
        frontend = outer.frontend()
        outer.ready(frontend, worker)
        answer = post(frontend.frontend, CHAT, asked).json()
        assert answer["choices"] == expected["choices"]
        assert answer["usage"]["prompt_tokens"] == expected["usage"]["prompt_tokens"]
        refused = post(frontend.frontend, CHAT, body(text, cache_salt="tenant"))
        assert refused.status == 400 and "cache salt" in refused.text
    finally:
        outer.stop()


def test_a_server_without_tokens_is_sent_text(fleet: Fleet) -> None:
    port = free_port()
    process = subprocess.Popen([sys.executable, str(HERE / "fake_openai.py"), str(port)])
    try:
        flags = ("--engine", "openai", "--engine-url", f"http://127.0.0.1:{port}")
        worker = fleet.worker(*flags, "--engine-api-key", "secret")
        frontend = fleet.frontend()
        fleet.ready(frontend, worker)
        asked = {"model": "tandem-nano-chat", "prompt": "one two three four", "max_tokens": 4}
        for _ in range(2):
            answer = post(frontend.frontend, "/v1/completions", asked)
            assert answer.status == 200, answer
            (choice,) = answer.json()["choices"]
            assert choice["text"].startswith("ruof eerht")
            assert choice["finish_reason"] == "length"
    finally:
        process.terminate()
        process.wait()
