"""What vLLM, SGLang and TensorRT-LLM tell of their caches over ZMQ: events, and their repetition."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from typing import Any

import msgpack
import zmq
import zmq.asyncio

END = b"\xff" * 8


class KvPublisher:
    def __init__(self, endpoint: str, replay: str | None, steps: int = 10_000) -> None:
        context = zmq.asyncio.Context.instance()
        self._events = context.socket(zmq.PUB)
        # The rule of the real ones: they connect unless the address is one to listen on.
        listens = "*" in endpoint or "::" in endpoint or endpoint.startswith("ipc:")
        (self._events.bind if listens else self._events.connect)(endpoint)
        self._replay = None
        if replay is not None:
            self._replay = context.socket(zmq.ROUTER)
            self._replay.bind(replay)
        self.kept: deque[tuple[int, bytes]] = deque(maxlen=steps)
        self.sequence = 0
        self.mute = False
        """Whether events are kept, but not sent."""

    async def publish(self, events: list[Any]) -> None:
        payload = msgpack.packb([time.time(), events, 0])
        number, self.sequence = self.sequence, self.sequence + 1
        self.kept.append((number, payload))
        if not self.mute:
            await self._events.send_multipart([b"", struct.pack(">Q", number), payload])

    def begin_anew(self) -> None:
        """As after a restart."""
        self.sequence = 0
        self.kept.clear()

    async def repeat(self) -> None:
        """Answers those who ask for what they missed."""
        if self._replay is None:
            return
        while True:
            peer, _, start = await self._replay.recv_multipart()
            (first,) = struct.unpack(">Q", start)
            for number, payload in list(self.kept):
                if number >= first:
                    frames = [peer, b"", b"", struct.pack(">Q", number), payload]
                    await self._replay.send_multipart(frames)
            await self._replay.send_multipart([peer, b"", b"", END, b""])


def forever(*coroutines: Any) -> list[asyncio.Task]:
    return [asyncio.create_task(coroutine) for coroutine in coroutines]
