"""First-token time of a 600-token prompt: cold, and when it is asked again.

    python bench/prefix_cache.py --binary target/release/tandem

Starts `tandem up` (one prefill and one decode worker), and sends each of several prompts twice.
The prompts differ from their first word on, so the first time is always cold. Prints a table and,
as the last line, the same figures as JSON. Exits with 1 only if something does not work: no
answer, a cold prompt that was cached, a repeated one that was not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from prompts import BLOCK_SIZE, long_messages
from raw_http import EventStream
from tandem_process import MODEL, Tandem

GOAL = 4.0
LEAST_CACHED = 36 * BLOCK_SIZE
WARM_UP_ROUNDS = 2


@dataclass
class Answer:
    """One streamed answer."""

    first_token: float
    prompt_tokens: int
    cached_tokens: int


def ask(port: int, topic: str) -> Answer:
    body = {"model": MODEL, "messages": long_messages(topic), "temperature": 0, "stream": True}
    body |= {"max_tokens": 4, "stream_options": {"include_usage": True}}
    first_token, usage = None, None
    with EventStream(port, "/v1/chat/completions", body) as stream:
        for seconds, chunk in stream.chunks():
            if first_token is None:
                first_token = seconds
            text = chunk.decode().removeprefix("data: ").strip()
            if text != "[DONE]":
                usage = json.loads(text).get("usage") or usage
    if first_token is None or usage is None or not stream.complete:
        raise SystemExit("malfunction: the answer was not complete")
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return Answer(first_token, usage["prompt_tokens"], cached)


def measure(port: int, rounds: int) -> list[tuple[Answer, Answer]]:
    pairs = []
    for i in range(WARM_UP_ROUNDS + rounds):
        topic = f"round {i:03}"
        cold, cached = ask(port, topic), ask(port, topic)
        if cold.cached_tokens > BLOCK_SIZE:
            raise SystemExit(f"malfunction: the cold prompt had {cold.cached_tokens} cached tokens")
        if cached.cached_tokens < LEAST_CACHED:
            raise SystemExit(
                f"malfunction: the repeated prompt had only {cached.cached_tokens} cached tokens"
            )
        pairs.append((cold, cached))
    return pairs[WARM_UP_ROUNDS:]


def report(pairs: list[tuple[Answer, Answer]]) -> None:
    cold = [one.first_token * 1000 for one, _ in pairs]
    cached = [two.first_token * 1000 for _, two in pairs]
    ratio = statistics.median(cold) / statistics.median(cached)
    tokens = statistics.median_low([one.prompt_tokens for one, _ in pairs])
    reused = statistics.median_low([two.cached_tokens for _, two in pairs])
    print(f"time to first token, {len(pairs)} prompts of {tokens} tokens, each asked twice\n")
    print(f"{'':22}{'median':>10}{'best':>10}{'worst':>10}")
    for name, times in ((f"cold ({tokens} computed)", cold), (f"cached ({reused} reused)", cached)):
        values = (statistics.median(times), min(times), max(times))
        print(f"{name:22}" + "".join(f"{value:>7.1f} ms" for value in values))
    verdict = "reached" if ratio >= GOAL else "missed"
    print(f"\ncold / cached = {ratio:.1f}x; the goal of {GOAL:.0f}x is {verdict}\n")
    figures = {
        "bench": "prefix_cache",
        "prompt_tokens": tokens,
        "cached_tokens": reused,
        "rounds": len(pairs),
        "cold_ms": round(statistics.median(cold), 2),
        "cached_ms": round(statistics.median(cached), 2),
        "ratio": round(ratio, 2),
        "cpus": os.cpu_count(),
    }
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True, help="a release build of tandem")
    parser.add_argument("--rounds", type=int, default=15, help="prompts, each asked twice")
    args = parser.parse_args()
    if not args.binary.is_file():
        raise SystemExit(f"{args.binary} does not exist")
    with tempfile.TemporaryDirectory() as cache:
        flags = ("--port", "0", "--frontend-port", "0", "--log", "warn", "--cache-dir", cache)
        with Tandem(args.binary.resolve(), "up", *flags) as server:
            server.wait_until_ready()
            report(measure(server.frontend, args.rounds))


if __name__ == "__main__":
    main()
