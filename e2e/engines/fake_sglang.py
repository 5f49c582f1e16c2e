"""Stands in for SGLang, written from the schemas of its HTTP API and of its events; never compared
with a running one.

A prefill and a decode engine meet in a room at the prefill engine's bootstrap port: the decode engine
begins only once the prefill engine has computed the prompt of that room.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blocks import BlockCache, next_token
from control import offer
from http_server import Reply, Request, serve
from kv_publisher import KvPublisher, forever


class Engine:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        events = json.loads(args.kv_events_config or "null")
        self.publisher = None
        if events:
            self.publisher = KvPublisher(events["endpoint"], events.get("replay_endpoint"))
        self.cache = BlockCache(args.page_size, self.publisher)
        self.settings: dict[str, Any] = {"delay": args.delay, "refuse": False}
        self.running: dict[str, asyncio.Event] = {}
        self.rooms: dict[int, asyncio.Event] = {}
        self.bodies: list[dict] = []
        self.aborted: list[str] = []
        self.computed = 0

    async def handle(self, request: Request) -> Reply:
        path = request.path
        if path == "/health":
            return Reply()
        if path == "/v1/models":
            return Reply(body={"data": [{"id": self.args.served_model_name}]})
        if path == "/server_info":
            return Reply(
                body={
                    "page_size": self.args.page_size,
                    "max_total_num_tokens": 512 * self.args.page_size,
                    "max_running_requests": 64,
                    "context_length": self.args.context_length,
                    "dp_size": 1,
                    "kv_events_config": self.args.kv_events_config,
                    "disaggregation_mode": self.args.disaggregation_mode,
                    "disaggregation_bootstrap_port": self.args.disaggregation_bootstrap_port,
                }
            )
        if path == "/metrics":
            labels = '{model_name="m"}'
            return Reply(
                text=f"sglang:num_running_reqs{labels} {len(self.running)}\n"
                f"sglang:num_queue_reqs{labels} 0\nsglang:token_usage{labels} 0.25\n"
            )
        if path == "/abort_request":
            name = request.json()["rid"]
            if name in self.running:
                self.aborted.append(name)
                self.running[name].set()
            return Reply()
        if path == "/generate":
            body = request.json()
            self.bodies.append(body)
            return Reply(events=self.generate(body))
        return Reply(404, {"detail": "Not Found"})

    def room(self, number: int) -> asyncio.Event:
        return self.rooms.setdefault(number, asyncio.Event())

    async def meet(self) -> None:
        """Tells decode engines when the prompt of a room is computed."""

        async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            number = int(await reader.readline())
            await self.room(number).wait()
            writer.write(b"computed\n")
            await writer.drain()
            writer.close()

        if self.args.disaggregation_mode == "prefill":
            port = self.args.disaggregation_bootstrap_port
            await asyncio.start_server(asked, "127.0.0.1", port)

    async def generate(self, body: dict) -> AsyncIterator[str]:
        name, prompt = body["rid"], body["input_ids"]
        ended = self.running[name] = asyncio.Event()
        try:
            if self.settings["refuse"]:
                yield self.part([], len(prompt), 0, self.abort("busy", 503))
                yield "[DONE]"
                return
            async for part in self.steps(body, name, list(prompt), ended):
                yield part
            yield "[DONE]"
        finally:
            self.running.pop(name, None)

    async def steps(
        self, body: dict, name: str, tokens: list[int], ended: asyncio.Event
    ) -> AsyncIterator[str]:
        salt, sampling = body.get("cache_salt"), body["sampling_params"]
        prompt, cached = len(tokens), self.cache.cached(tokens, salt)
        number, mode = body.get("bootstrap_room"), self.args.disaggregation_mode
        if mode == "decode" and number is not None:
            reader, writer = await asyncio.open_connection(
                body["bootstrap_host"], body["bootstrap_port"]
            )
            writer.write(b"%d\n" % number)
            assert await reader.readline() == b"computed\n"
            writer.close()
        else:
            self.computed += prompt - cached
        await self.cache.store(tokens, salt)
        if mode == "prefill" and number is not None:
            self.room(number).set()
        for made in range(1, sampling["max_new_tokens"] + 1):
            await asyncio.sleep(self.settings["delay"])
            if ended.is_set():
                yield self.part(tokens[prompt:], prompt, cached, self.abort("aborted", None))
                return
            tokens.append(next_token(tokens))
            last = made == sampling["max_new_tokens"]
            finish = {"type": "length", "length": made} if last else None
            # Lists grow, unless the server was told otherwise.
            yield self.part(tokens[prompt:], prompt, cached, finish)

    @staticmethod
    def abort(message: str, status: int | None) -> dict:
        return {"type": "abort", "message": message, "status_code": status}

    @staticmethod
    def part(ids: list[int], prompt: int, cached: int, finish: dict | None) -> str:
        about = {
            "finish_reason": finish,
            "prompt_tokens": prompt,
            "completion_tokens": len(ids),
            "cached_tokens": cached,
        }
        return json.dumps({"output_ids": ids, "meta_info": about})

    def set(self, **settings: Any) -> None:
        self.settings.update(settings)

    def state(self) -> dict:
        return {
            "bodies": self.bodies,
            "running": list(self.running),
            "aborted": self.aborted,
            "computed": self.computed,
        }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--skip-tokenizer-init", action="store_true")
    parser.add_argument("--enable-metrics", action="store_true")
    parser.add_argument("--page-size", type=int, default=16)
    parser.add_argument("--context-length", type=int, default=4096)
    parser.add_argument("--kv-events-config")
    parser.add_argument("--disaggregation-mode", default="null")
    parser.add_argument("--disaggregation-transfer-backend")
    parser.add_argument("--disaggregation-bootstrap-port", type=int, default=8998)
    # Its own.
    parser.add_argument("--control")
    parser.add_argument("--delay", type=float, default=0.002)
    return parser.parse_args()


async def main() -> None:
    args = arguments()
    engine = Engine(args)
    await engine.meet()
    if engine.publisher:
        engine.tasks = forever(engine.publisher.repeat())
    await offer(args.control, {"set": engine.set, "state": engine.state})
    server = await serve(engine.handle, port=args.port)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
