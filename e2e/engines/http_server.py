"""A small HTTP/1.1 server that notices when a client hangs up, over TCP or a Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """A whole answer, or one in server-sent events."""

    status: int = 200
    body: Any = None
    events: AsyncIterator[str] | None = None
    text: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Reply]]


class HangUp(Exception):
    """Ends the connection without a word."""


async def serve(handler: Handler, *, path: str | None = None, port: int = 0) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await read_request(reader):
                await answer(handler, request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, HangUp):
            pass
        finally:
            writer.close()

    if path is not None:
        return await asyncio.start_unix_server(connected, path)
    return await asyncio.start_server(connected, "127.0.0.1", port)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ", 2)
    headers = {}
    while (line := await reader.readline()).strip():
        name, value = line.decode().split(":", 1)
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)


async def answer(
    handler: Handler,
    request: Request,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Answers, and cancels the work behind the answer when the client hangs up."""
    working = asyncio.create_task(respond(handler, request, writer))
    # The next request does not come before this answer, so anything else is the end.
    hung_up = asyncio.create_task(reader.read(1))
    done, _ = await asyncio.wait({working, hung_up}, return_when=asyncio.FIRST_COMPLETED)
    if working not in done:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        raise HangUp
    hung_up.cancel()
    await asyncio.gather(hung_up, return_exceptions=True)
    working.result()


async def respond(handler: Handler, request: Request, writer: asyncio.StreamWriter) -> None:
    reply = await handler(request)
    head = [f"HTTP/1.1 {reply.status} X"]
    if reply.events is None:
        if reply.text is not None:
            kind, content = "text/plain", reply.text.encode()
        else:
            kind = "application/json"
            content = b"" if reply.body is None else json.dumps(reply.body).encode()
        head += [f"content-type: {kind}", f"content-length: {len(content)}", "", ""]
        writer.write("\r\n".join(head).encode() + content)
        await writer.drain()
        return
    head += ["content-type: text/event-stream", "transfer-encoding: chunked", "", ""]
    writer.write("\r\n".join(head).encode())
    async for event in reply.events:
        chunk = f"data: {event}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
