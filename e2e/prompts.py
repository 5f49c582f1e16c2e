"""Prompts that several tests need."""

from __future__ import annotations

import random

SEED_REQUEST = {"model": "MoM", "messages": [{"role": "user", "content": "What is 2+2?"}]}

BLOCK_SIZE = 16
"""Tokens of a KV block."""

# 36 whole blocks must be reusable, and the last, partial one never is.
LONG_TOKENS = range(600, 720)
"""How many tokens a long prompt may have."""

SUBJECTS = "the gardener|a young sailor|our teacher|the old baker|a quiet farmer|the painter".split("|")
VERBS = "carried|found|sold|watched|repaired|remembered|counted|painted".split("|")
THINGS = "a basket of apples|the blue boat|seven books|a small lamp|the wooden door|two horses".split("|")
PLACES = "by the river|in the market|near the hill|under the bridge|behind the house|on the road".split("|")


def long_text(topic: str, sentences: int = 50) -> str:
    """About 600 tokens of plain English that differ from those of any other topic at once."""
    rng = random.Random(topic)
    lines = [f"{topic.capitalize()} is the name of this story."]
    for _ in range(sentences):
        subject, verb = rng.choice(SUBJECTS), rng.choice(VERBS)
        lines.append(f"{subject.capitalize()} {verb} {rng.choice(THINGS)} {rng.choice(PLACES)}.")
    return " ".join(lines)


def user(text: str) -> list[dict[str, str]]:
    """A conversation of one turn."""
    return [{"role": "user", "content": text}]


def long_messages(topic: str) -> list[dict[str, str]]:
    """A question about a long text."""
    return user(f"{long_text(topic)} What did the gardener do?")
