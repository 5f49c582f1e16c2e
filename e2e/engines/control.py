"""How a test looks into a fake engine and changes its ways, beside what the real one offers."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from http_server import Handler, Reply, Request, serve


async def offer(path: str | None, actions: dict[str, Any]) -> asyncio.Server | None:
    """Listens on a free port, which is written to the file at `path` with the process's number.

    `POST /NAME` runs `actions[NAME]` with the members of the JSON body.
    """
    if path is None:
        return None

    async def handle(request: Request) -> Reply:
        action = actions[request.path.lstrip("/")]
        result = action(**request.json())
        if asyncio.iscoroutine(result):
            result = await result
        return Reply(body={} if result is None else result)

    handler: Handler = handle
    server = await serve(handler)
    port = server.sockets[0].getsockname()[1]
    partial = Path(f"{path}.{os.getpid()}")
    partial.write_text(json.dumps({"port": port, "pid": os.getpid()}))
    partial.rename(path)
    return server
