"""Stands in for `trtllm-serve`, written from the schemas of its API; never compared with a running
one.

Members that the real one does not know are an error there, and so they are here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blocks import BlockCache, next_token
from control import offer
from http_server import Reply, Request, serve
from kv_publisher import KvPublisher, forever

KNOWN = set(
    "model prompt max_tokens temperature top_p top_k min_p presence_penalty frequency_penalty "
    "repetition_penalty seed logprobs stream stream_options min_tokens ignore_eos stop_token_ids "
    "detokenize add_special_tokens response_format disaggregated_params".split()
)


class Engine:
    def __init__(self, args: argparse.Namespace) -> None:
        options = json.loads(Path(args.extra_llm_api_options).read_text())
        cache = options["kv_cache_config"]
        events = cache["kv_events_config"]
        self.args, self.options = args, options
        self.publisher = KvPublisher(events["endpoint"], events.get("replay_endpoint"))
        self.cache = BlockCache(cache.get("tokens_per_block", 32), self.publisher)
        self.contexts: dict[int, list[int]] = {}
        self.bodies: list[dict] = []
        self.computed = 0

    async def handle(self, request: Request) -> Reply:
        if request.path == "/health":
            return Reply()
        if request.path == "/v1/models":
            return Reply(body={"data": [{"id": "trt"}]})
        if request.path != "/v1/completions":
            return Reply(404, {"detail": "Not Found"})
        body = request.json()
        self.bodies.append(body)
        if unknown := body.keys() - KNOWN:
            problem = {"object": "error", "message": f"unknown: {unknown}", "type": "x", "code": 400}
            return Reply(400, problem)
        phase = body.get("disaggregated_params") or {}
        if phase.get("request_type") == "context_only":
            return Reply(body=await self.context(body))
        return Reply(events=self.generate(body, phase))

    async def compute(self, tokens: list[int]) -> int:
        cached = self.cache.cached(tokens, None)
        self.computed += len(tokens) - cached
        await self.cache.store(tokens, None)
        return cached

    async def context(self, body: dict) -> dict:
        tokens = body["prompt"]
        cached = await self.compute(tokens)
        first, number = next_token(tokens), len(self.contexts) + 1
        self.contexts[number] = tokens
        params = {
            "request_type": "context_only",
            "first_gen_tokens": [first],
            "ctx_request_id": number,
            "encoded_opaque_state": "b3BhcXVl",
            "draft_tokens": None,
        }
        choice = {"index": 0, "text": "", "token_ids": [first], "finish_reason": "length"}
        details = {"cached_tokens": cached}
        return {
            "model": "trt",
            "choices": [choice | {"disaggregated_params": params}],
            "usage": {"prompt_tokens": len(tokens), "prompt_tokens_details": details},
        }

    async def generate(self, body: dict, phase: dict) -> AsyncIterator[str]:
        tokens = list(body["prompt"])
        prompt = len(tokens)
        # The blocks of a prompt come from the context engine, with its first token.
        ready = phase.get("first_gen_tokens", []) if phase else []
        cached = 0 if phase else await self.compute(tokens)
        for made in range(1, body["max_tokens"] + 1):
            await asyncio.sleep(self.args.delay)
            token = ready.pop(0) if ready else next_token(tokens)
            tokens.append(token)
            finish = "length" if made == body["max_tokens"] else None
            choice = {"index": 0, "text": "", "token_ids": [token], "finish_reason": finish}
            yield json.dumps({"choices": [choice]})
        usage = {"prompt_tokens": prompt, "prompt_tokens_details": {"cached_tokens": cached}}
        yield json.dumps({"choices": [], "usage": usage})
        yield "[DONE]"

    def state(self) -> dict:
        return {"bodies": self.bodies, "computed": self.computed, "options": self.options}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("model")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max_seq_len", type=int)
    parser.add_argument("--extra_llm_api_options", required=True)
    # Its own.
    parser.add_argument("--control")
    parser.add_argument("--delay", type=float, default=0.002)
    return parser.parse_args()


async def main() -> None:
    args = arguments()
    engine = Engine(args)
    engine.tasks = forever(engine.publisher.repeat())
    actions: dict[str, Any] = {"state": engine.state}
    await offer(args.control, actions)
    server = await serve(engine.handle, port=args.port)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
