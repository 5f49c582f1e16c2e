"""What the router adds to a request that Envoy shows it, over an ExtProc server that does nothing.

    make bench-router
    make bench-router ARGS=--quick

One Envoy has a door without ExtProc, one with a no-op server, and one for each router: with rules
over words, and with every signal of the models inside. Each round loads every door in turn, first
at a fixed rate for the latency, then as fast as four clients can for the CPU, so that whatever else
the machine does hits all of them; medians of the rounds are printed. Prompts have 128 tokens and no
two are equal; Envoy itself answers in the upstream's place.

`taskset -c 2,3 make bench-router` keeps everything on two cores of a larger machine.

The last part sends prompts of different lengths to the router with models and prints what memory it
holds. Exits with 1 only if something does not work, not if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "e2e"), str(ROOT / "e2e/extproc")]

from envoy_process import Door, Envoy  # noqa: E402
from processes import cpu_seconds, load, rss_mib  # noqa: E402
from raw_http import request  # noqa: E402
from router_process import Router  # noqa: E402
from tandem_process import Lines  # noqa: E402

BENCH = ROOT / "bench"
TEXT = BENCH / "128-tokens.txt"
CHAT = "/v1/chat/completions"
NONE, NO_OP, KEYWORDS, MODELS = "no ExtProc", "no-op", "keywords", "models"
CONFIGS = {KEYWORDS: BENCH / "keywords.yaml", MODELS: BENCH / "models.yaml"}
RATES = {NONE: 100, NO_OP: 100, KEYWORDS: 100, MODELS: 40}
"""Requests a second, where latency is measured: far from what each can do."""
GOALS = {KEYWORDS: 1.0, MODELS: 8.0}
"""Milliseconds that the median may take longer than with the no-op server."""
MEMORY_GOAL = 250
CLIENTS = 4
ANSWER = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 0,
    "model": "small",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Write to him, and name a date."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 128, "completion_tokens": 8, "total_tokens": 136},
}


@dataclass(frozen=True)
class Plan:
    """How long everything takes."""

    rounds: int
    seconds: float
    memory: tuple[int, ...]
    """Requests after which the memory is read."""


QUICK = Plan(rounds=3, seconds=1.0, memory=(500, 2_000))
FULL = Plan(rounds=12, seconds=2.0, memory=(10_000, 50_000, 100_000))


@dataclass
class Round:
    """One door, once."""

    p50: float
    p99: float
    rate: float
    """Answers a second of the closed loop."""
    envoy_cpu: float
    """Milliseconds a request."""
    server_cpu: float


@dataclass
class Bench:
    """What is measured with, and what was."""

    load: Path
    plan: Plan
    envoy: Envoy
    servers: dict[str, int]
    """Process ids of the ExtProc servers."""
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    numbers: count = field(default_factory=count)

    def drive(self, door: str, *flags: str) -> dict:
        """Loads a door with prompts that were never sent before."""
        flags = ("--expect", ANSWER["id"], "--first", next(self.numbers) * 1_000_000, *flags)
        report = load(self.load, door, self.envoy.port(door), "--text", TEXT, *flags)
        # Words in disorder may look like an attack now and then.
        if report["unexpected"] > len(report["latencies_ms"]) / 1000:
            raise SystemExit(f"malfunction: {door}: {report['unexpected']} answers of its own")
        return report

    def turn(self, door: str) -> Round:
        seconds = ("--seconds", self.plan.seconds)
        paced = self.drive(door, *seconds, "--clients", CLIENTS, "--rate", RATES[door])
        centiles = quantiles(paced["latencies_ms"], n=100)
        server = self.servers.get(door)
        before = (cpu_seconds(self.envoy.process.pid), server and cpu_seconds(server))
        closed = self.drive(door, *seconds, "--clients", CLIENTS)
        requests = len(closed["latencies_ms"])
        envoy = cpu_seconds(self.envoy.process.pid) - before[0]
        own = cpu_seconds(server) - before[1] if server else 0.0
        each = 1000.0 / requests
        rate = requests / closed["seconds"]
        return Round(centiles[49], centiles[98], rate, envoy * each, own * each)

    def measure(self) -> None:
        doors = list(self.envoy.doors)
        for door in doors:
            self.drive(door, "--seconds", 1.0)
        for number in range(self.plan.rounds):
            # Whoever goes first goes last the next time.
            for door in doors if number % 2 == 0 else reversed(doors):
                self.rounds.setdefault(door, []).append(self.turn(door))

    def differences(self, door: str, figure: str) -> list[float]:
        """To the no-op server in the same round."""
        pairs = zip(self.rounds[door], self.rounds[NO_OP], strict=True)
        return [getattr(one, figure) - getattr(other, figure) for one, other in pairs]

    def added(self, door: str, figure: str) -> float:
        return median(self.differences(door, figure))

    def report(self) -> None:
        busy, cpus = os.getloadavg()[0], os.cpu_count()
        print(f"\nmedians of {self.plan.rounds} rounds; load average {busy:.1f} on {cpus} CPUs;")
        print("latencies in ms, at a fixed rate; CPU in ms a request, as fast as clients can;")
        print("'added' is over the no-op server\n")
        print("| ExtProc | p50 | added | p99 | added | Envoy CPU | server CPU | added | req/s |")
        print("|---|---|---|---|---|---|---|---|---|")
        for door, rounds in self.rounds.items():
            middle = {
                name: median(getattr(one, name) for one in rounds)
                for name in ("p50", "p99", "rate", "envoy_cpu", "server_cpu")
            }
            print(
                f"| {door} | {middle['p50']:.2f} | {self.added(door, 'p50'):+.2f} "
                f"| {middle['p99']:.2f} | {self.added(door, 'p99'):+.2f} "
                f"| {middle['envoy_cpu']:.3f} | {middle['server_cpu']:.3f} "
                f"| {self.added(door, 'server_cpu'):+.3f} | {middle['rate']:.0f} |"
            )
        print()
        for door, goal in GOALS.items():
            quietest = min(self.differences(door, "p50"))
            verdict(f"{door}: added to the median, ms", self.added(door, "p50"), goal)
            print(f"  in the quietest round {quietest:.2f}")

    def memory(self) -> list[float]:
        pid = self.servers[MODELS]
        readings = [rss_mib(pid)]
        print("\n| requests | resident memory of the router with models, MiB |\n|---|---|")
        print(f"| those of the rounds | {readings[0]:.0f} |", flush=True)
        sent = 0
        for total in self.plan.memory:
            lengths = ("--min-words", 1, "--max-words", 60)
            self.drive(MODELS, "--clients", CLIENTS, "--requests", total - sent, *lengths)
            sent = total
            readings.append(rss_mib(pid))
            print(f"| and {total:,} | {readings[-1]:.0f} |", flush=True)
        print()
        verdict("most memory, MiB", max(readings), MEMORY_GOAL)
        verdict("grown since the first reading, MiB", readings[-1] - readings[1], 5)
        return readings


def verdict(name: str, value: float, goal: float) -> None:
    print(f"{name}: {value:.2f}, goal {goal:g}: {'met' if value <= goal else 'MISSED'}")


def start_no_op(stack: ExitStack, binary: Path) -> tuple[int, int]:
    """The process id and port of the server that does nothing."""
    process = subprocess.Popen([str(binary)], stdout=subprocess.PIPE)
    stack.callback(lambda: (process.terminate(), process.wait()))
    line = Lines(process.stdout).wait_for("^ready on")
    if line is None:
        raise SystemExit("malfunction: the no-op server did not start")
    return process.pid, int(line.rpartition(":")[2])


def check(envoy: Envoy) -> None:
    """A router that is not asked would be fast."""
    body = {"model": "auto", "messages": [{"role": "user", "content": TEXT.read_text()}]}
    for door in envoy.doors:
        answer = request(envoy.port(door), "POST", CHAT, body)
        routed = "x-vsr-selected-decision" in answer.headers
        if answer.status != 200 or answer.json() != ANSWER or routed != (door in CONFIGS):
            raise SystemExit(f"malfunction: {door} answers {answer}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/tandem")
    parser.add_argument("--bench", type=Path, default=BENCH / "target/release")
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--rounds", type=int)
    args = parser.parse_args()
    plan = QUICK if args.quick else FULL
    if args.rounds:
        plan = Plan(args.rounds, plan.seconds, plan.memory)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        pid, port = start_no_op(stack, args.bench / "no_op_extproc")
        servers = {NO_OP: pid}
        answer = json.dumps(ANSWER)
        doors = {NONE: Door(None, None, answer=answer), NO_OP: Door(port, None, answer=answer)}
        ports = ("--port", "0", "--api-port", "0", "--metrics-port", "0", "--log", "warn")
        for name, config in CONFIGS.items():
            command = ("router", "--config", str(config), "--bind-address", "127.0.0.1", *ports)
            router = Router(args.binary, *command, "--cache-dir", directory, env=dict(os.environ))
            stack.enter_context(router)
            router.wait_until_ready()
            servers[name] = router.process.pid
            doors[name] = Door(router.extproc, None, answer=answer)
        for name, pid in servers.items():
            print(f"{name}: {rss_mib(pid):.0f} MiB at the start")
        envoy = stack.enter_context(Envoy(doors))
        check(envoy)
        bench = Bench(args.bench / "load", plan, envoy, servers)
        bench.measure()
        bench.report()
        bench.memory()


if __name__ == "__main__":
    main()
