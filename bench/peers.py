"""First-token time of 2,000-token prompts that another worker has: fetched from it, or computed again.

    python bench/peers.py --binary target/release/tandem

Two servers of two workers each; in one of them, workers take blocks from each other (`--kv-peers`).
Requests go to either worker with equal chance. Both servers are asked the same prompts in turn, each
until both workers have had it: what counts is the first request to the second worker. Then many
clients ask questions about few long texts, and requests go where there is least to do and to wait
for. Prints two tables and, as the last line, the same figures as JSON. Exits with 1 only if something
does not work: no answer, different answers, a failure of a worker.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from prompts import BLOCK_SIZE, long_text, user
from raw_http import EventStream
from tandem_process import MODEL, Tandem

SENTENCES = 160
WORKERS = ("backend-1", "backend-2")
QUESTIONS = ("What did the gardener do?", "Who was in the market?", "Where is the blue boat?")


class Answer:
    """One streamed answer."""

    def __init__(self, server: Tandem, topic: str, question: str = QUESTIONS[0], tokens: int = 4) -> None:
        messages = user(f"{long_text(topic, SENTENCES)} {question}")
        body = {"model": MODEL, "messages": messages, "temperature": 0, "stream": True}
        body |= {"max_tokens": tokens, "stream_options": {"include_usage": True}}
        first, usage, self.text = None, None, ""
        with EventStream(server.frontend, "/v1/chat/completions", body) as stream:
            for seconds, chunk in stream.chunks():
                first = seconds if first is None else first
                line = chunk.decode().removeprefix("data: ").strip()
                if line != "[DONE]":
                    event = json.loads(line)
                    usage = event.get("usage") or usage
                    self.text += "".join(one["delta"].get("content") or "" for one in event["choices"])
        if first is None or usage is None or not stream.complete:
            raise SystemExit("malfunction: the answer was not complete")
        self.first_token = first
        self.prompt = usage["prompt_tokens"]
        self.cached = usage["prompt_tokens_details"]["cached_tokens"]


def requests(server: Tandem) -> list[float]:
    metrics = server.metrics()
    return [metrics.value("tandem_worker_requests_total", worker=worker) for worker in WORKERS]


def computed(server: Tandem) -> float:
    metrics = server.metrics()
    name = "tandem_worker_prefill_tokens_computed_total"
    return sum(metrics.value(name, worker=worker) for worker in WORKERS)


def on_both(server: Tandem, topic: str) -> tuple[Answer, Answer]:
    """The first answers of each worker."""
    answers: dict[int, Answer] = {}
    while len(answers) < 2:
        before = requests(server)
        answer = Answer(server, topic)
        after = requests(server)
        answers.setdefault(next(i for i in range(2) if after[i] > before[i]), answer)
    first, second = answers.values()
    if first.text != second.text:
        raise SystemExit(f"malfunction: {first.text!r} is not {second.text!r}")
    return first, second


def one_by_one(plain: Tandem, sharing: Tandem, prompts: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"computed": [], "fetched": []}
    for i in range(prompts):
        topic = f"story {i:02}"
        _, again = on_both(plain, topic)
        _, fetched = on_both(sharing, topic)
        if again.cached > BLOCK_SIZE or fetched.cached < fetched.prompt - 2 * BLOCK_SIZE:
            raise SystemExit(f"malfunction: {again.cached} and {fetched.cached} tokens were kept")
        times["computed"].append(again.first_token)
        times["fetched"].append(fetched.first_token)
    print(f"{prompts} prompts of {fetched.prompt} tokens\n")
    return times


def crowd(server: Tandem, clients: int, each: int) -> dict[str, float]:
    """Clients that ask, one question after the other, about one of two texts that nobody knows yet."""
    before, begun = computed(server), time.monotonic()

    def client(number: int) -> list[float]:
        asked = [(f"tale {(number + i) % 2}", f"{QUESTIONS[i % 3]} {number}.{i}") for i in range(each)]
        return [Answer(server, topic, question, 16).first_token for topic, question in asked]

    with ThreadPoolExecutor(clients) as pool:
        times = sorted(sum(pool.map(client, range(clients)), []))
    return {
        "seconds": time.monotonic() - begun,
        "first_token_p50_ms": statistics.median(times) * 1000,
        "first_token_p95_ms": times[int(len(times) * 0.95)] * 1000,
        "computed_tokens": computed(server) - before,
    }


def report(times: dict[str, list[float]], crowds: dict[str, dict[str, float]]) -> None:
    print(f"{'time to first token':22}{'p50':>12}{'best':>12}{'worst':>12}")
    for name, seconds in times.items():
        values = (statistics.median(seconds), min(seconds), max(seconds))
        columns = "".join(f"{value * 1000:>9.1f} ms" for value in values)
        print(f"{name:22}{columns}")
    p50 = {name: statistics.median(seconds) for name, seconds in times.items()}
    ratio = p50["computed"] / p50["fetched"]
    print(f"\ncomputed / fetched = {ratio:.1f}x\n")
    print(f"{'many clients':22}{'alone':>12}{'sharing':>12}")
    for figure, alone in crowds["alone"].items():
        print(f"{figure:22}{alone:>12.1f}{crowds['sharing'][figure]:>12.1f}")
    figures = {name: round(seconds * 1000, 2) for name, seconds in p50.items()}
    rounded = {
        name: {figure: round(value, 2) for figure, value in one.items()} for name, one in crowds.items()
    }
    summary = {"bench": "peers", "p50_ms": figures, "ratio": round(ratio, 2), "crowd": rounded}
    print(f"\n{json.dumps(summary)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True, help="a release build of tandem")
    parser.add_argument("--prompts", type=int, default=12, help="prompts, each on both workers")
    parser.add_argument("--clients", type=int, default=6, help="clients at a time")
    parser.add_argument("--questions", type=int, default=5, help="questions of each client")
    args = parser.parse_args()
    if not args.binary.is_file():
        raise SystemExit(f"{args.binary} does not exist")
    binary = args.binary.resolve()
    with tempfile.TemporaryDirectory() as cache:
        flags = ("up", "--port", "0", "--frontend-port", "0", "--log", "warn", "--cache-dir", cache)
        flags += ("--workers", "both=2", "--threads", "1")
        either = (*flags, "--kv-overlap-score-weight", "0")
        with Tandem(binary, *either) as plain, Tandem(binary, *either, "--kv-peers") as sharing:
            for server in (plain, sharing):
                server.wait_until_ready()
            times = one_by_one(plain, sharing, args.prompts)
        crowds = {}
        with Tandem(binary, *flags) as plain, Tandem(binary, *flags, "--kv-peers") as sharing:
            for name, server in (("alone", plain), ("sharing", sharing)):
                server.wait_until_ready()
                crowds[name] = crowd(server, args.clients, args.questions)
    report(times, crowds)


if __name__ == "__main__":
    main()
