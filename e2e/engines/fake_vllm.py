"""Stands in for vLLM 0.32: the same HTTP, the same ZMQ, the same sharp edges, no model.

Everything here was seen on the real one. What it generates depends on the tokens alone. It "moves"
KV blocks by asking the prefill engine over TCP whether they are still there, and where the real one
would read whatever stands in their place, so does this: its tokens are wrong then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from blocks import BlockCache, next_token
from control import offer
from http_server import HangUp, Reply, Request, serve
from kv_publisher import KvPublisher, forever

GARBAGE = 299
PREFIX = "generate-tokens-"


class Engine:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        events = json.loads(args.kv_events_config or "null")
        self.publisher = None
        if events:
            self.publisher = KvPublisher(events["endpoint"], events.get("replay_endpoint"))
        self.events = events
        self.cache = BlockCache(args.block_size, self.publisher, args.positional_events)
        transfer = json.loads(args.kv_transfer_config or "null") or {}
        self.lease = transfer.get("kv_connector_extra_config", {}).get("kv_lease_duration", 30)
        self.policy = transfer.get("kv_load_failure_policy", "fail")
        self.side_channel = int(os.environ.get("VLLM_NIXL_SIDE_CHANNEL_PORT", 0))
        self.leases: dict[str, float] = {}
        self.settings: dict[str, Any] = {"delay": args.delay, "busy": False, "draining": False}
        self.running: dict[str, asyncio.Event] = {}
        self.bodies: list[dict] = []
        self.paths: list[str] = []
        self.counts = {"local_compute": 0, "local_cache_hit": 0, "external_kv_transfer": 0}
        self.generated = 0
        self.pulls: list[str] = []
        self.aborted: list[str] = []
        self.terminated_with: list[int] = []

    async def handle(self, request: Request) -> Reply:
        path = request.path
        if path == "/health":
            return Reply(503 if self.settings.get("unhealthy") else 200)
        if path == "/v1/models":
            name = self.args.served_model_name
            length = self.args.max_model_len
            return Reply(body={"data": [{"id": name, "max_model_len": length}]})
        if path == "/metrics":
            return Reply(text=self.metrics())
        if path == "/kv_event_sources" and self.events:
            return Reply(body={"0": self.events})
        if path == "/inference/v1/abort_requests":
            for name in request.json()["request_ids"]:
                # A name without the prefix is none that it knows; it says 200 all the same.
                if name in self.running:
                    self.aborted.append(name)
                    self.running[name].set()
            return Reply()
        if path == "/inference/v1/generate":
            if not self.args.enable_scale_out:
                return error(403, "the endpoint is not enabled", "PermissionDeniedError")
            return await self.generate(path, request.json(), request.json()["token_ids"])
        if path == "/v1/completions":
            return await self.generate(path, request.json(), request.json()["prompt"])
        return Reply(404, {"detail": "Not Found"})

    def metrics(self) -> str:
        labels = '{engine="0",model_name="m"}'
        used = min(1.0, len(self.running) * 0.1)
        lines = [
            f"vllm:num_requests_running{labels} {len(self.running)}.0",
            f"vllm:num_requests_waiting{labels} 0.0",
            f"vllm:kv_cache_usage_perc{labels} {used}",
            f"vllm:generation_tokens_total{labels} {self.generated}.0",
            f"vllm:prompt_tokens_total{labels} {sum(self.counts.values())}.0",
            f"vllm:prefix_cache_hits_total{labels} {self.counts['local_cache_hit']}.0",
            f'vllm:cache_config_info{{block_size="{self.args.block_size}",num_gpu_blocks="512"}} 1.0',
        ]
        for source, count in self.counts.items():
            name = "vllm:prompt_tokens_by_source_total"
            lines.append(f'{name}{{engine="0",model_name="m",source="{source}"}} {count}.0')
        return "\n".join(lines) + "\n"

    async def generate(self, path: str, body: dict, tokens: list[int]) -> Reply:
        self.bodies.append(body)
        self.paths.append(path)
        if self.settings["busy"]:
            return error(503, "The engine is currently busy", "ServiceUnavailableError")
        sampling = body.get("sampling_params", body)
        limit = sampling["max_tokens"]
        if max(tokens) > 60_000:
            return error(400, f"Token id {max(tokens)} is out of vocabulary", "BadRequestError")
        if len(tokens) + limit > self.args.max_model_len:
            return error(400, "max_tokens is too large", "BadRequestError")
        name = PREFIX + body.get("request_id", uuid.uuid4().hex)
        answer = Answering(self, body, list(tokens), limit, path, name)
        if not body.get("stream"):
            return await answer.whole()
        # What happens before the first token decides on the status.
        try:
            await answer.prepare()
        except LoadFailed as failure:
            return error(500, str(failure), "InternalServerError")
        return Reply(events=answer.parts())

    async def pull(self, params: dict) -> bool:
        """Whether the blocks were read; they need not be those of the prompt any more."""
        self.pulls.append(params["remote_request_id"])
        try:
            reader, writer = await asyncio.open_connection(
                params["remote_host"], params["remote_port"]
            )
            writer.write(params["remote_request_id"].encode() + b"\n")
            valid = (await reader.readline()).strip() == b"valid"
            writer.close()
        except OSError as failure:
            if self.policy == "fail":
                raise LoadFailed("KV load failure") from failure
            return False
        self.garbage = not valid
        return True

    async def hand_over(self) -> None:
        """Tells decode engines whether a request's blocks are still there, and frees them."""

        async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            name = (await reader.readline()).decode().strip()
            valid = self.leases.pop(name, 0.0) > time.monotonic()
            writer.write(b"valid\n" if valid else b"gone\n")
            await writer.drain()
            writer.close()

        if self.side_channel:
            await asyncio.start_server(asked, "127.0.0.1", self.side_channel)

    # What tests ask for.

    def set(self, **settings: Any) -> None:
        self.settings.update(settings)

    def state(self) -> dict:
        return {
            "bodies": self.bodies,
            "paths": self.paths,
            "counts": self.counts,
            "running": list(self.running),
            "aborted": self.aborted,
            "pulls": self.pulls,
            "cached": sum(1 for copies in self.cache.copies.values() if copies),
            "arguments": sys.argv[1:],
            "terminated_with": self.terminated_with,
        }

    def mute(self, mute: bool) -> None:
        self.publisher.mute = mute

    def forget_kept(self) -> None:
        self.publisher.kept.clear()

    async def begin_anew(self) -> None:
        self.cache.copies.clear()
        self.publisher.begin_anew()


class LoadFailed(Exception):
    pass


class Answering:
    """One request at work."""

    def __init__(
        self, engine: Engine, body: dict, tokens: list[int], limit: int, path: str, name: str
    ) -> None:
        self.engine, self.body, self.tokens, self.limit = engine, body, tokens, limit
        self.path, self.name = path, name
        self.prompt = len(tokens)
        self.salt = body.get("cache_salt")
        self.transfer = body.get("kv_transfer_params") or {}
        self.cached = 0
        self.garbage = False
        self.ended = asyncio.Event()

    async def prepare(self) -> None:
        engine = self.engine
        cached = engine.cache.cached(self.tokens, self.salt)
        remote = 0
        if self.transfer.get("do_remote_prefill"):
            self.engine.garbage = False
            if await engine.pull(self.transfer):
                remote = self.prompt - cached
                self.garbage = self.engine.garbage
        else:
            self.cached = cached
        engine.counts["local_cache_hit"] += cached
        engine.counts["external_kv_transfer"] += remote
        engine.counts["local_compute"] += self.prompt - cached - remote
        await engine.cache.store(self.tokens, self.salt)

    def usage(self) -> dict:
        made = len(self.tokens) - self.prompt
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": made,
            "total_tokens": len(self.tokens),
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    async def steps(self) -> AsyncIterator[tuple[list[int], str | None]]:
        engine = self.engine
        engine.running[self.name] = self.ended
        try:
            if engine.settings["draining"]:
                yield [], "abort"
                return
            while True:
                await asyncio.sleep(engine.settings["delay"])
                if self.ended.is_set():
                    yield [], "abort"
                    return
                token = GARBAGE if self.garbage else next_token(self.tokens)
                self.tokens.append(token)
                engine.generated += 1
                made = len(self.tokens) - self.prompt
                if len(self.tokens) % engine.args.block_size == 0:
                    await engine.cache.store(self.tokens, self.salt)
                finish = "length" if made == self.limit else None
                yield [token], finish
                if finish:
                    return
                if engine.settings.get("die_after") == made:
                    yield [], "dead"
                    return
        finally:
            engine.running.pop(self.name, None)

    def choice(self, tokens: list[int], finish: str | None) -> dict:
        choice = {"index": 0, "finish_reason": finish, "stop_reason": None, "token_ids": tokens}
        logprobs = self.body.get("sampling_params", self.body).get("logprobs")
        if self.path == "/v1/completions":
            choice["text"] = ""
        elif logprobs is not None:
            one = lambda token: {"token_id": token, "logprob": -8.25, "rank": 1}
            content = [one(token) | {"top_logprobs": [one(token)]} for token in tokens]
            choice["logprobs"] = {"content": content}
        return choice

    async def whole(self) -> Reply:
        try:
            await self.prepare()
        except LoadFailed as failure:
            return error(500, str(failure), "InternalServerError")
        tokens, finish = [], None
        async for step, finish in self.steps():
            tokens += step
        params = None
        if self.transfer.get("do_remote_decode"):
            params = self.lend()
        return Reply(
            body={
                "request_id": self.name,
                "model": self.body["model"],
                "usage": self.usage(),
                "kv_transfer_params": params,
                "choices": [self.choice(tokens, finish)],
            }
        )

    def lend(self) -> dict:
        engine, name = self.engine, f"{self.name}-{uuid.uuid4().hex[:8]}"
        engine.leases[name] = time.monotonic() + engine.lease
        blocks = list(range(1, 1 + -(-self.prompt // engine.args.block_size)))
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [blocks],
            "remote_engine_id": str(uuid.uuid4()),
            "remote_request_id": name,
            "remote_host": os.environ["VLLM_NIXL_SIDE_CHANNEL_HOST"],
            "remote_port": engine.side_channel,
            "tp_size": 1,
            "remote_num_tokens": self.prompt,
            "remote_blocks_expiry_time": None,
            "transfer_mode": "pull",
        }

    async def parts(self) -> AsyncIterator[str]:
        """Never says anything of what is handed over."""
        last = None
        async for tokens, finish in self.steps():
            if finish == "dead":
                problem = "EngineCore encountered an issue. See stack trace for the root cause."
                kind = {"message": problem, "type": "InternalServerError", "code": 500}
                yield json.dumps({"error": kind})
                yield "[DONE]"
                asyncio.get_running_loop().call_later(0.2, os._exit, 1)
                return
            last = self.choice(tokens, finish)
            # How much was cached is said at the end only.
            yield json.dumps({"request_id": self.name, "usage": None, "choices": [last]})
        yield json.dumps({"request_id": self.name, "usage": self.usage(), "choices": []})
        yield "[DONE]"


def error(status: int, message: str, kind: str) -> Reply:
    body = {"message": message, "type": kind, "param": None, "code": status}
    return Reply(status, {"error": body})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("model")
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--uds")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--enable-scale-out", action="store_true")
    parser.add_argument("--enable-prefix-caching", action="store_true")
    parser.add_argument("--enable-prompt-tokens-details", action="store_true")
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    parser.add_argument("--enforce-eager", action="store_true")
    parser.add_argument("--prefix-caching-hash-algo")
    parser.add_argument("--block-size", type=int, default=32)
    parser.add_argument("--max-model-len", type=int, default=4096)
    parser.add_argument("--kv-events-config")
    parser.add_argument("--kv-transfer-config")
    # Its own.
    parser.add_argument("--control")
    parser.add_argument("--delay", type=float, default=0.002)
    parser.add_argument("--positional-events", action="store_true")
    parser.add_argument("--ignore-hang-ups", action="store_true")
    parser.add_argument("--fail-at-start", action="store_true")
    return parser.parse_args()


async def main() -> None:
    args = arguments()
    print("INFO fake vLLM starts", flush=True)
    if args.fail_at_start:
        sys.exit("ERROR no accelerator")
    engine = Engine(args)
    handler = engine.handle
    if args.ignore_hang_ups:
        handler = shielded(engine)
    await engine.hand_over()
    if engine.publisher:
        engine.tasks = forever(engine.publisher.repeat())
    await offer(
        args.control,
        {
            "set": engine.set,
            "state": engine.state,
            "mute": engine.mute,
            "forget_kept": engine.forget_kept,
            "begin_anew": engine.begin_anew,
            "evict": engine.cache.evict,
            "clear": engine.cache.clear,
        },
    )
    server = await serve(handler, path=args.uds, port=args.port)
    stopping = asyncio.Event()

    def terminate() -> None:
        engine.terminated_with.append(len(engine.running))
        print(f"INFO asked to end with {len(engine.running)} requests", flush=True)
        stopping.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    await stopping.wait()
    server.close()


def shielded(engine: Engine):
    """Works on although the client has hung up, as behind a proxy that keeps the connection."""

    async def handle(request: Request) -> Reply:
        reply = await engine.handle(request)
        if reply.events is None:
            return reply
        queue: asyncio.Queue[str | None] = asyncio.Queue()

        async def work() -> None:
            async for event in reply.events:
                queue.put_nowait(event)
            queue.put_nowait(None)

        engine.detached = asyncio.create_task(work())

        async def passed_on() -> AsyncIterator[str]:
            while (event := await queue.get()) is not None:
                yield event

        return Reply(events=passed_on())

    return handle


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except HangUp:
        pass
