"""The OpenAI SDK, pointed at a local port."""

from __future__ import annotations

from openai import OpenAI


def sdk(port: int) -> OpenAI:
    """A client that does not retry: that would hide failures."""
    return OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1", api_key="unused", max_retries=0, timeout=60.0
    )
