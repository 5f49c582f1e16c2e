"""A server of the OpenAI API that knows no tokens: it says a text backwards, some letters at a time."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator

from http_server import Reply, Request, serve

KEY = "secret"


async def handle(request: Request) -> Reply:
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return Reply(401, {"error": {"message": "no key", "type": "x", "code": 401}})
    if request.path == "/v1/models":
        return Reply(body={"data": [{"id": "text-model"}]})
    body = request.json()
    if not isinstance(body["prompt"], str):
        return Reply(400, {"error": {"message": "prompt must be a text", "code": 400}})
    return Reply(events=backwards(body["prompt"], body["max_tokens"]))


async def backwards(text: str, pieces: int) -> AsyncIterator[str]:
    text = text[::-1]
    for i in range(pieces):
        finish = "length" if i == pieces - 1 else None
        choice = {"index": 0, "text": text[3 * i : 3 * i + 3], "finish_reason": finish}
        yield json.dumps({"choices": [choice]})
    yield "[DONE]"


async def main() -> None:
    server = await serve(handle, port=int(sys.argv[1]))
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
