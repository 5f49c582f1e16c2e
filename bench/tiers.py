"""First-token time of 2,000-token prompts when they take four times the KV cache.

    python bench/tiers.py --binary target/release/tandem

Two servers of one worker each have the same KV cache, which holds a quarter of the prompts. One has
tiers below it: memory for another half, and a disk for everything. Both are asked the same prompts
in the same random order, in turn. The disk's pages are dropped from the system's cache before each
request, so that what comes from disk is read from it. Prints a table and, as the last line, the same
figures as JSON. Exits with 1 only if something does not work: no answer, different answers, a
failure of a tier.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from prompts import BLOCK_SIZE, long_text, user
from raw_http import EventStream
from tandem_process import MODEL, Tandem

GOAL = 3.0
SENTENCES = 160
TIERS = ("host", "disk")
ROWS = {
    "plain": "without tiers, all",
    "computed": "  computed",
    "tiers": "with tiers, all",
    "device": "  from the KV cache",
    "host": "  mostly from memory",
    "disk": "  mostly from disk",
}
# Of tandem-nano-chat.
BLOCK_BYTES = 9 * 2 * 2 * 64 * 16 * 4
GIB = 1 << 30


@dataclass
class Answer:
    """One streamed answer."""

    first_token: float
    text: str
    prompt_tokens: int
    cached_tokens: int


def ask(server: Tandem, topic: str) -> Answer:
    messages = user(f"{long_text(topic, SENTENCES)} What did the gardener do?")
    body = {"model": MODEL, "messages": messages, "temperature": 0, "stream": True}
    body |= {"max_tokens": 4, "stream_options": {"include_usage": True}}
    first_token, usage, text = None, None, ""
    with EventStream(server.frontend, "/v1/chat/completions", body) as stream:
        for seconds, chunk in stream.chunks():
            if first_token is None:
                first_token = seconds
            line = chunk.decode().removeprefix("data: ").strip()
            if line != "[DONE]":
                event = json.loads(line)
                usage = event.get("usage") or usage
                text += "".join(one["delta"].get("content") or "" for one in event["choices"])
    if first_token is None or usage is None or not stream.complete:
        raise SystemExit("malfunction: the answer was not complete")
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return Answer(first_token, text, usage["prompt_tokens"], cached)


def onboarded(server: Tandem) -> dict[str, float]:
    metrics = server.metrics()
    name = "tandem_kv_tier_onboarded_blocks_total"
    return {tier: metrics.value(name, tier=tier, worker="backend-1") for tier in TIERS}


def settle(server: Tandem, directory: Path, blocks: int) -> None:
    """Waits until everything is on disk, and drops it from the system's cache."""
    name = "tandem_kv_tier_blocks"
    server.wait_for_metric(
        lambda metrics: metrics.value(name, tier="disk", worker="backend-1") >= blocks, 60
    )
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(
    plain: Tandem, tiered: Tandem, directory: Path, args: argparse.Namespace
) -> dict[str, list[float]]:
    topics = [f"story {i:02}" for i in range(args.prompts)]
    first = [(ask(plain, topic), ask(tiered, topic)) for topic in topics]
    tokens = statistics.median_low([one.prompt_tokens for one, _ in first])
    blocks = sum(one.prompt_tokens // BLOCK_SIZE for one, _ in first)
    print(f"{len(topics)} prompts of {tokens} tokens, {blocks} blocks\n")
    times: dict[str, list[float]] = {name: [] for name in ROWS}
    rng = random.Random(7)
    for _ in range(args.rounds):
        for topic in rng.sample(topics, len(topics)):
            settle(tiered, directory, blocks)
            before = onboarded(tiered)
            computed, kept = ask(plain, topic), ask(tiered, topic)
            if computed.text != kept.text:
                raise SystemExit(f"malfunction: {computed.text!r} is not {kept.text!r}")
            if kept.cached_tokens < kept.prompt_tokens - 2 * BLOCK_SIZE:
                raise SystemExit(f"malfunction: only {kept.cached_tokens} tokens were kept")
            after = onboarded(tiered)
            came = {tier: after[tier] - before[tier] for tier in TIERS}
            # A prompt counts for the tier that most of it came from.
            place = max(came, key=lambda tier: came[tier])
            if came[place] < tokens / BLOCK_SIZE / 2:
                place = "device"
            times["plain"].append(computed.first_token)
            if computed.cached_tokens <= BLOCK_SIZE:
                times["computed"].append(computed.first_token)
            times["tiers"].append(kept.first_token)
            times[place].append(kept.first_token)
    failed = tiered.metrics().series("tandem_kv_tier_failures_total")
    if failed:
        raise SystemExit(f"malfunction: {failed}")
    return times


def report(times: dict[str, list[float]]) -> None:
    print(f"{'time to first token':22}{'prompts':>9}{'p50':>12}{'best':>12}{'worst':>12}")
    for row, name in ROWS.items():
        if seconds := times[row]:
            values = (statistics.median(seconds), min(seconds), max(seconds))
            columns = "".join(f"{value * 1000:>9.1f} ms" for value in values)
            print(f"{name:22}{len(seconds):>9}{columns}")
    p50 = {name: statistics.median(seconds) for name, seconds in times.items() if seconds}
    ratio = p50["plain"] / p50["tiers"]
    verdict = "reached" if ratio >= GOAL else "missed"
    print(f"\nwithout / with tiers = {ratio:.1f}x; the goal of {GOAL:.0f}x is {verdict}\n")
    figures = {name: round(seconds * 1000, 2) for name, seconds in p50.items()}
    print(json.dumps({"bench": "tiers", "p50_ms": figures, "ratio": round(ratio, 2)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True, help="a release build of tandem")
    parser.add_argument("--prompts", type=int, default=12, help="prompts; the KV cache holds a quarter")
    parser.add_argument("--rounds", type=int, default=4, help="times that each prompt is asked again")
    args = parser.parse_args()
    if not args.binary.is_file():
        raise SystemExit(f"{args.binary} does not exist")
    blocks = args.prompts * 123
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as disk:
        flags = ("--port", "0", "--frontend-port", "0", "--log", "warn", "--cache-dir", cache)
        flags += ("--workers", "both=1", "--kv-blocks", str(blocks // 4))
        tiers = ("--kv-host-cache-gb", str(blocks // 2 * BLOCK_BYTES / GIB))
        tiers += ("--kv-disk-cache-gb", "1", "--kv-disk-cache-dir", disk)
        tiers += ("--kv-offload-min-frequency", "1")
        binary = args.binary.resolve()
        with Tandem(binary, "up", *flags) as plain, Tandem(binary, "up", *flags, *tiers) as tiered:
            plain.wait_until_ready()
            tiered.wait_until_ready()
            report(measure(plain, tiered, Path(disk), args))


if __name__ == "__main__":
    main()
