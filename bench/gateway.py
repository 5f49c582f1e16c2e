"""What the gateway costs as a reverse proxy, beside Envoy without ExtProc.

    make bench-gateway
    make bench-gateway ARGS=--quick

Both stand in front of the same model server that takes no time. The gateway decides by rules over
words and asks no model; Envoy decides nothing. Each round loads the model server itself and both
proxies in turn: at a fixed rate for the latency, as fast as four clients can for the CPU, and with
streams for 64 clients, so that whatever else the machine does hits all of them; medians of the
rounds are printed. Prompts have 128 tokens and no two are equal.

Exits with 1 only if something does not work, not if a goal is missed.
"""

from __future__ import annotations

import argparse
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
sys.path[:0] = [str(ROOT / "e2e"), str(ROOT / "e2e/extproc"), str(ROOT / "e2e/gateway")]

from envoy_process import Door, Envoy  # noqa: E402
from gateway_process import Gateway  # noqa: E402
from processes import cpu_seconds, load, rss_mib  # noqa: E402
from raw_http import request  # noqa: E402
from tandem_process import Lines  # noqa: E402

BENCH = ROOT / "bench"
TEXT = BENCH / "128-tokens.txt"
CHAT = "/v1/chat/completions"
DIRECT, ENVOY, GATEWAY = "no proxy", "Envoy", "gateway"
RATE = 200
"""Requests a second, where latency is measured: far from what each can do."""
CLIENTS = 4
STREAMS = 64
CPU_GOAL = 0.8
"""Least requests per CPU second, as a share of Envoy's."""
STREAM_GOAL = 1.0
"""Milliseconds that the median first event may come later than through Envoy."""


@dataclass
class Round:
    """One server, once. Times are in milliseconds."""

    p50: float
    p99: float
    rate: float
    """Answers a second of the closed loop."""
    per_cpu: float
    """Answers per CPU second of the proxy."""
    first_event: float
    """Median time to the first event of a stream."""


@dataclass
class Bench:
    """What is measured with, and what was."""

    load: Path
    seconds: float
    ports: dict[str, int]
    pids: dict[str, int]
    rounds: dict[str, list[Round]] = field(default_factory=dict)
    numbers: count = field(default_factory=count)

    def drive(self, name: str, *flags: object) -> dict:
        """Loads a server with prompts that were never sent before."""
        first = next(self.numbers) * 1_000_000
        flags = ("--expect", "chatcmpl-bench", "--first", first, "--seconds", self.seconds, *flags)
        report = load(self.load, name, self.ports[name], "--text", TEXT, *flags)
        if report["unexpected"]:
            raise SystemExit(f"malfunction: {name}: {report['unexpected']} wrong answers")
        return report

    def turn(self, name: str) -> Round:
        paced = self.drive(name, "--clients", CLIENTS, "--rate", RATE)
        centiles = quantiles(paced["latencies_ms"], n=100)
        before = cpu_seconds(self.pids[name])
        closed = self.drive(name, "--clients", CLIENTS)
        used = cpu_seconds(self.pids[name]) - before
        requests = len(closed["latencies_ms"])
        streams = self.drive(name, "--clients", STREAMS, "--stream")
        return Round(
            p50=centiles[49],
            p99=centiles[98],
            rate=requests / closed["seconds"],
            per_cpu=requests / used,
            first_event=median(streams["latencies_ms"]),
        )

    def measure(self, rounds: int) -> None:
        names = list(self.ports)
        for name in names:
            self.drive(name)
        for number in range(rounds):
            # Whoever goes first goes last the next time.
            for name in names if number % 2 == 0 else reversed(names):
                self.rounds.setdefault(name, []).append(self.turn(name))

    def middle(self, name: str, figure: str) -> float:
        return median(getattr(one, figure) for one in self.rounds[name])

    def added(self, figure: str, over: str) -> float:
        """By the gateway, over what another took in the same round."""
        pairs = zip(self.rounds[GATEWAY], self.rounds[over], strict=True)
        return median(getattr(one, figure) - getattr(other, figure) for one, other in pairs)

    def report(self) -> None:
        rounds = len(self.rounds[GATEWAY])
        print(f"\nmedians of {rounds} rounds; times in ms; load average {os.getloadavg()[0]:.1f}")
        print(f"on {os.cpu_count()} CPUs; first event of {STREAMS} streams at a time\n")
        print("| | p50 | p99 | first event | req/s | req per CPU s | MiB |")
        print("|---|---|---|---|---|---|---|")
        for name in self.rounds:
            print(
                f"| {name} | {self.middle(name, 'p50'):.2f} | {self.middle(name, 'p99'):.2f} "
                f"| {self.middle(name, 'first_event'):.2f} | {self.middle(name, 'rate'):.0f} "
                f"| {self.middle(name, 'per_cpu'):.0f} | {rss_mib(self.pids[name]):.0f} |"
            )
        print()
        for figure in ("p50", "p99", "first_event"):
            print(f"{figure}: added over no proxy, ms: {self.added(figure, DIRECT):+.2f}", end=", ")
            print(f"over Envoy {self.added(figure, ENVOY):+.2f}")
        pairs = zip(self.rounds[GATEWAY], self.rounds[ENVOY], strict=True)
        share = median(one.per_cpu / other.per_cpu for one, other in pairs)
        verdict("requests per CPU second, share of Envoy's", share, share >= CPU_GOAL, CPU_GOAL)
        late = self.added("first_event", ENVOY)
        verdict("first event after Envoy's, ms", late, late <= STREAM_GOAL, STREAM_GOAL)


def verdict(name: str, value: float, met: bool, goal: float) -> None:
    print(f"{name}: {value:.2f}, goal {goal:g}: {'met' if met else 'MISSED'}")


def start_model(stack: ExitStack, binary: Path) -> tuple[int, int]:
    """The process id and port of the model server."""
    process = subprocess.Popen([str(binary)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    stack.callback(lambda: (process.terminate(), process.wait()))
    line = Lines(process.stdout).wait_for("^ready on")
    if line is None:
        raise SystemExit("malfunction: the model server did not start")
    return process.pid, int(line.rpartition(":")[2])


def check(ports: dict[str, int]) -> None:
    """A gateway that does not decide would be fast."""
    body = {"model": "auto", "messages": [{"role": "user", "content": TEXT.read_text()}]}
    for name, port in ports.items():
        answer = request(port, "POST", CHAT, body)
        routed = "x-vsr-selected-decision" in answer.headers
        if answer.status != 200 or routed != (name == GATEWAY):
            raise SystemExit(f"malfunction: {name} answers {answer}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/tandem")
    parser.add_argument("--bench", type=Path, default=BENCH / "target/release")
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--rounds", type=int)
    args = parser.parse_args()
    rounds, seconds = (3, 1.0) if args.quick else (12, 2.0)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        model, port = start_model(stack, args.bench / "mock_model")
        command = ["gateway", "--config", str(BENCH / "keywords.yaml"), "--host", "127.0.0.1"]
        command += ["--port", "0", "--upstream", f"http://127.0.0.1:{port}", "--access-log=false"]
        command += ["--log", "warn", "--cache-dir", directory]
        gateway = stack.enter_context(Gateway(args.binary, *command, env=dict(os.environ)))
        gateway.wait_until_ready()
        envoy = stack.enter_context(Envoy({ENVOY: Door(None, port)}))
        ports = {DIRECT: port, ENVOY: envoy.port(ENVOY), GATEWAY: gateway.gateway}
        pids = {DIRECT: model, ENVOY: envoy.process.pid, GATEWAY: gateway.process.pid}
        check(ports)
        bench = Bench(args.bench / "load", seconds, ports, pids)
        bench.measure(args.rounds or rounds)
        bench.report()


if __name__ == "__main__":
    main()
