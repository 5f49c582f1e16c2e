"""A working set of four times the KV cache: what the tiers keep is not computed again, or is right.

One worker whose KV cache holds two of the eight stories. Whatever happens to the blocks meanwhile,
the answers are those of a worker that computes everything.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openai_client import sdk
from prompts import BLOCK_SIZE, LONG_TOKENS, long_messages
from tandem_process import MODEL, Tandem

DEVICE_BLOCKS = 78
TOPICS = "acorn birch cedar dahlia elder fennel garlic hazel".split()
LEAST_CACHED = 36 * BLOCK_SIZE
GIB = 1 << 30
# Nine layers, keys and values, two heads, 64 numbers, 16 tokens, four bytes.
BLOCK_BYTES = 9 * 2 * 2 * 64 * 16 * 4
MANY_BLOCKS = 1000
WORKER = ("--workers", "both=1", "--kv-blocks", str(DEVICE_BLOCKS))


def gib(blocks: float) -> str:
    return str(blocks * BLOCK_BYTES / GIB)


def on_disk(directory: Path, blocks: int = MANY_BLOCKS) -> tuple[str, ...]:
    # 64 blocks share a page that says what they are.
    size = ("--kv-disk-cache-gb", gib(blocks * 1.01))
    return (*size, "--kv-disk-cache-dir", str(directory), "--kv-offload-min-frequency", "1")


def in_memory(blocks: int) -> tuple[str, ...]:
    return ("--kv-host-cache-gb", gib(blocks + 0.5))


class Asked:
    """What a server answered, and how much of each prompt it had."""

    def __init__(self, server: Tandem, topics: list[str]) -> None:
        self.answers: dict[str, str] = {}
        self.cached: dict[str, int] = {}
        self.prompt: dict[str, int] = {}
        with sdk(server.frontend) as client:
            for topic in topics:
                answer = client.chat.completions.create(
                    model=MODEL, messages=long_messages(topic), max_tokens=12, temperature=0
                )
                self.answers[topic] = answer.choices[0].message.content
                self.cached[topic] = answer.usage.prompt_tokens_details.cached_tokens
                self.prompt[topic] = answer.usage.prompt_tokens


def onboarded(server: Tandem, tier: str) -> float:
    return tier_figure(server, "onboarded_blocks_total", tier)


def tier_figure(server: Tandem, name: str, tier: str) -> float:
    return server.metrics().value(f"tandem_kv_tier_{name}", tier=tier, worker="backend-1")


def failures(server: Tandem) -> dict[str, float]:
    series = server.metrics().series("tandem_kv_tier_failures_total")
    return {dict(sample.labels)["reason"]: sample.value for sample in series}


def wait_until_written(server: Tandem, blocks: int) -> None:
    """Blocks are written behind the answers."""
    server.wait_for_metric(
        lambda metrics: metrics.value("tandem_kv_tier_blocks", tier="disk", worker="backend-1")
        >= blocks
    )


@pytest.fixture(scope="module")
def expected(up) -> Iterator[Asked]:
    """The answers of a worker that computes every prompt."""
    with up(*WORKER) as server:
        asked = Asked(server, TOPICS)
        assert all(tokens in LONG_TOKENS for tokens in asked.prompt.values())
        blocks = sum(tokens // BLOCK_SIZE for tokens in asked.prompt.values())
        assert blocks >= 4 * DEVICE_BLOCKS, f"{blocks} blocks are not four times the KV cache"
        again = Asked(server, TOPICS)
        assert max(again.cached.values()) <= BLOCK_SIZE, "the KV cache is too large for this test"
        assert again.answers == asked.answers
        yield asked


def whole_blocks(expected: Asked) -> int:
    return sum(tokens // BLOCK_SIZE for tokens in expected.prompt.values())


def test_memory_and_disk_keep_what_the_kv_cache_cannot(
    up: Callable[..., Tandem], expected: Asked, tmp_path: Path
) -> None:
    with up(*WORKER, *in_memory(120), *on_disk(tmp_path)) as server:
        cold = Asked(server, TOPICS)
        assert cold.answers == expected.answers
        assert max(cold.cached.values()) <= BLOCK_SIZE
        wait_until_written(server, whole_blocks(expected))
        mark = server.log.mark()
        # The latest first: those are in memory still.
        again = Asked(server, TOPICS[::-1])
        assert again.answers == expected.answers
        assert min(again.cached.values()) >= LEAST_CACHED, again.cached
        assert onboarded(server, "host") > 0
        assert onboarded(server, "disk") > 0
        assert failures(server) == {}
        # The frontend knows from events, and weighs each tier.
        cached = [blocks for _, blocks in server.selections(mark)]
        assert len(cached) == len(TOPICS) and min(cached) >= 36, cached


def test_blocks_are_found_again_after_a_restart(
    up: Callable[..., Tandem], expected: Asked, tmp_path: Path
) -> None:
    with up(*WORKER, *on_disk(tmp_path)) as server:
        Asked(server, TOPICS)
        wait_until_written(server, whole_blocks(expected))
    with up(*WORKER, *on_disk(tmp_path)) as server:
        mark = server.log.mark()
        again = Asked(server, TOPICS)
        assert again.answers == expected.answers
        assert min(again.cached.values()) >= LEAST_CACHED, again.cached
        assert failures(server) == {}
        cached = [blocks for _, blocks in server.selections(mark)]
        assert min(cached) >= 36, "the snapshot tells what is on disk"


def test_kill_9_costs_no_more_than_what_was_being_written(
    up: Callable[..., Tandem], expected: Asked, tmp_path: Path
) -> None:
    for _ in range(3):
        with up(*WORKER, *on_disk(tmp_path)) as server:
            # The last answer is there, its blocks are on their way.
            assert Asked(server, TOPICS[:3]).answers.items() <= expected.answers.items()
            server.signal(signal.SIGKILL)
            server.wait(10)
    with up(*WORKER, *on_disk(tmp_path)) as server:
        again = Asked(server, TOPICS)
        assert again.answers == expected.answers
        assert again.cached[TOPICS[0]] >= LEAST_CACHED
        assert sum(failures(server).values()) <= 3
    assert [path.name for path in tmp_path.iterdir()] == ["blocks-0.kv"], "a file was left behind"


def test_damage_costs_a_computation(
    up: Callable[..., Tandem], expected: Asked, tmp_path: Path
) -> None:
    with up(*WORKER, *on_disk(tmp_path)) as server:
        Asked(server, TOPICS)
        wait_until_written(server, whole_blocks(expected))
    path = tmp_path / "blocks-0.kv"
    # One bit in every 400 KB: more than every third block.
    with path.open("r+b") as file:
        for at in range(100_000, os.path.getsize(path), 400_000):
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1]))
    with up(*WORKER, *on_disk(tmp_path)) as server:
        for _ in range(2):
            assert Asked(server, TOPICS).answers == expected.answers
        found = failures(server)
        assert set(found) == {"corrupted"} and found["corrupted"] >= len(TOPICS), found


def test_a_full_disk_is_no_reason_to_fail(
    up: Callable[..., Tandem], expected: Asked, tmp_path: Path
) -> None:
    mount = ("mount", "-t", "tmpfs", "-o", f"size={60 * BLOCK_BYTES}", "tmpfs", str(tmp_path))
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small file system can only be mounted as root")
    try:
        with up(*WORKER, *on_disk(tmp_path)) as server:
            for _ in range(2):
                assert Asked(server, TOPICS).answers == expected.answers
            found = failures(server)
            assert set(found) == {"disk_full"}, found
            # What fits is kept, and still gives way to what is newer.
            assert 40 <= tier_figure(server, "blocks", "disk") <= 60
            assert tier_figure(server, "evicted_blocks_total", "disk") > 0
    finally:
        subprocess.run(("umount", str(tmp_path)), check=True)


def test_two_workers_share_a_directory(
    up: Callable[..., Tandem], expected: Asked, tmp_path: Path
) -> None:
    flags = ("--kv-blocks", str(DEVICE_BLOCKS), *on_disk(tmp_path))
    with up("--workers", "prefill=1,decode=1", *flags) as server:
        for _ in range(2):
            assert Asked(server, TOPICS).answers == expected.answers
        assert failures(server) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blocks-0.kv", "blocks-1.kv"]
