"""A prefix cache in blocks, with the habits of vLLM's: one event for each copy of a block."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from typing import Any

from kv_publisher import KvPublisher


def next_token(tokens: list[int]) -> int:
    """Depends on all that came before, so that an answer that moves on can be checked."""
    return 300 + zlib.crc32(repr(tokens).encode()) % 1000


class BlockCache:
    def __init__(self, size: int, publisher: KvPublisher | None, positional: bool = False) -> None:
        self.size = size
        self.copies: Counter[int] = Counter()
        self._publisher = publisher
        self._positional = positional

    def hashes(self, tokens: list[int], salt: str | None) -> list[int]:
        """The low 64 bits of a chain of SHA-256."""
        parent, hashes = b"none", []
        for start in range(0, len(tokens) - self.size + 1, self.size):
            own = salt if start == 0 else None
            text = repr((parent, tokens[start : start + self.size], own))
            parent = hashlib.sha256(text.encode()).digest()
            hashes.append(int.from_bytes(parent[-8:], "big"))
        return hashes

    def cached(self, tokens: list[int], salt: str | None) -> int:
        """Tokens that need not be computed; the last one always is."""
        count = 0
        for block in self.hashes(tokens, salt):
            if not self.copies[block]:
                break
            count += 1
        return min(count, (len(tokens) - 1) // self.size) * self.size

    async def store(self, tokens: list[int], salt: str | None) -> None:
        """Stores all whole blocks; the last of an aligned prompt once more, if it was there."""
        hashes = self.hashes(tokens, salt)
        first = self.cached(tokens, salt) // self.size
        fresh = hashes[first:]
        if not fresh:
            return
        self.copies.update(fresh)
        keys: list[Any] = [None] * len(fresh)
        if first == 0 and salt is not None:
            keys[0] = [salt]
        stored = tokens[first * self.size : len(hashes) * self.size]
        parent = hashes[first - 1] if first else None
        await self._tell([self._stored(fresh, parent, stored, keys)])

    def _stored(self, hashes: list[int], parent: int | None, tokens: list[int], keys: list) -> Any:
        if self._positional:
            return ["BlockStored", hashes, parent, tokens, self.size, None, "GPU", None, keys]
        return {
            "type": "BlockStored",
            "block_hashes": hashes,
            "parent_block_hash": parent,
            "token_ids": tokens,
            "block_size": self.size,
            "lora_id": None,
            "medium": "GPU",
            "lora_name": None,
            "extra_keys": keys,
            "group_idx": 0,
            "kv_cache_spec_kind": "full_attention",
        }

    async def evict(self, tokens: list[int], salt: str | None = None) -> None:
        """Drops one copy of each block, the last first, in one batch."""
        events = []
        for block in reversed(self.hashes(tokens, salt)):
            if self.copies[block]:
                self.copies[block] -= 1
                events.append(
                    {
                        "type": "BlockRemoved",
                        "block_hashes": [block],
                        "medium": "GPU",
                        "group_idx": 0,
                    }
                )
        await self._tell(events)

    async def clear(self) -> None:
        """Says so twice, as vLLM does."""
        self.copies.clear()
        await self._tell([{"type": "AllBlocksCleared"}] * 2)

    async def _tell(self, events: list[Any]) -> None:
        if self._publisher is not None and events:
            await self._publisher.publish(events)
