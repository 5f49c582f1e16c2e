"""What a frontend costs: tandem's against NVIDIA Dynamo's, in one run.

All frontends run at the same time and are loaded in turn, so that whatever else the machine does
hits every one of them. tandem and Dynamo 0.6.1 share mock workers of tandem. The newest Dynamo
speaks other protocols, so it has mock workers of its own; what its workers take is not counted.
Needs etcd, nats-server, `.venv-dynamo` and `.venv-dynamo-latest`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "e2e"))

from cluster import CHAT, Cluster, eventually, free_port, wait_for_instances  # noqa: E402
from processes import cpu_seconds, rss_mib  # noqa: E402
from raw_http import request  # noqa: E402

MODEL = "mock"
SPEEDUP = 200
WORDS = "river boat garden lamp door market horse basket teacher painter road hill".split()
WORKER_TIME = re.compile(
    r"^dynamo_component_request_duration_seconds_(sum|count){[^}]*endpoint=\"generate\"[^}]*} (\S+)$",
    re.MULTILINE,
)


@dataclass
class Load:
    """What the clients do."""

    name: str
    clients: int
    tokens: int
    stream: bool


@dataclass
class Contender:
    """A frontend, and the system ports of its workers."""

    pid: int
    port: int
    workers: list[int]


@dataclass
class Result:
    """What one or several turns of a load took."""

    tokens: int = 0
    cpu_seconds: float = 0.0
    firsts: list[float] = field(default_factory=list)
    """Seconds to the first token of each request."""
    totals: list[float] = field(default_factory=list)
    """Seconds of each request."""
    worker_seconds: float = 0.0
    """Of those, what a worker took, in the mean."""
    rss_mib: float = 0.0

    def figures(self) -> dict[str, float]:
        first, total = (statistics.quantiles(times, n=100) for times in (self.firsts, self.totals))
        own = self.worker_seconds
        return {
            "requests": len(self.totals),
            "per CPU s": len(self.totals) / self.cpu_seconds,
            "tokens per CPU s": self.tokens / self.cpu_seconds,
            "first p50 ms": first[49] * 1000,
            "p50 ms": total[49] * 1000,
            "worker ms": own * 1000,
            "added p50 ms": (total[49] - own) * 1000,
            "added p99 ms": (total[98] - own) * 1000,
            "RSS MiB": self.rss_mib,
        }


LOADS = [
    Load("one after the other, streamed answers of 8 tokens", clients=1, tokens=8, stream=True),
    Load("whole answers of 2 tokens", clients=16, tokens=2, stream=False),
    Load("streamed answers of 100 tokens", clients=16, tokens=100, stream=True),
]


def prompt(client: int, number: int) -> str:
    """About 100 tokens; the first half is shared by the requests of a client."""
    shared = " ".join(WORDS[(client + i) % len(WORDS)] for i in range(40))
    own = " ".join(WORDS[(number * 7 + i * i) % len(WORDS)] for i in range(40))
    return f"{shared} {own} {number}"


async def client(port: int, load: Load, index: int, until: float, done: Result) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while time.monotonic() < until:
        number += 1
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": prompt(index, number)}],
            "max_tokens": load.tokens,
            "stream": load.stream,
            "ignore_eos": True,
        }
        text = json.dumps(body).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        started = time.monotonic()
        writer.write(f"{head}content-length: {len(text)}\r\n\r\n".encode() + text)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in answer.split(b"\r\n", 1)[0], answer
        if b"content-length" in answer.lower():
            length = answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
            first = time.monotonic()
        else:
            first = 0.0
            while size := int(await reader.readuntil(b"\r\n"), 16):
                first = first or time.monotonic()
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        done.firsts.append(first - started)
        done.totals.append(time.monotonic() - started)
    writer.close()


async def drive(port: int, load: Load, seconds: float, done: Result) -> None:
    until = time.monotonic() + seconds
    await asyncio.gather(*(client(port, load, i, until, done) for i in range(load.clients)))


def worker_time(ports: list[int]) -> tuple[float, float]:
    """Seconds and requests of all workers so far."""
    sums = {"sum": 0.0, "count": 0.0}
    for port in ports:
        for name, value in WORKER_TIME.findall(request(port, "GET", "/metrics").text):
            sums[name] += float(value)
    return sums["sum"], sums["count"]


def measure(contender: Contender, load: Load, seconds: float) -> Result:
    done = Result()
    took, requests = worker_time(contender.workers)
    before = cpu_seconds(contender.pid)
    asyncio.run(drive(contender.port, load, seconds, done))
    done.cpu_seconds = cpu_seconds(contender.pid) - before
    took_then, requests_then = worker_time(contender.workers)
    assert requests_then > requests, "no worker tells how long its requests took"
    done.worker_seconds = (took_then - took) / (requests_then - requests)
    done.tokens = len(done.totals) * load.tokens
    done.rss_mib = rss_mib(contender.pid)
    return done


def merge(results: list[Result]) -> Result:
    return Result(
        tokens=sum(one.tokens for one in results),
        cpu_seconds=sum(one.cpu_seconds for one in results),
        firsts=[first for one in results for first in one.firsts],
        totals=[total for one in results for total in one.totals],
        worker_seconds=statistics.fmean(one.worker_seconds for one in results),
        rss_mib=max(one.rss_mib for one in results),
    )


def report(load: Load, results: dict[str, Result]) -> None:
    """A table of the figures, and one of tandem's against the others'."""
    figures = {name: result.figures() for name, result in results.items()}
    columns = list(figures["tandem"])
    print(f"\n{load.name}, {load.clients} clients\n")
    print(f"| frontend | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in figures.items():
        print(f"| {name} | {' | '.join(cell(row[column]) for column in columns)} |")
    ours = figures.pop("tandem")
    for name, row in figures.items():
        ratios = (f"{ours[column] / row[column]:.2f}" for column in columns)
        print(f"| tandem / {name} | {' | '.join(ratios)} |", flush=True)


def cell(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/tandem")
    parser.add_argument("--dynamo", type=Path, default=ROOT / ".venv-dynamo/bin/python")
    parser.add_argument("--latest", type=Path, default=ROOT / ".venv-dynamo-latest/bin/python")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        # Apart, because either version would stumble over the other's entries.
        clusters = [stack.enter_context(cluster(args.binary)) for _ in range(2)]
        contenders = ours(clusters[0])
        workers = contenders["tandem"].workers
        name, contender = stack.enter_context(dynamo(args.dynamo, clusters[0], workers))
        contenders[name] = contender
        workers = [stack.enter_context(mocker(args.latest, clusters[1])) for _ in range(2)]
        name, contender = stack.enter_context(dynamo(args.latest, clusters[1], workers))
        contenders[name] = contender
        for load in LOADS:
            results: dict[str, list[Result]] = {name: [] for name in contenders}
            for contender in contenders.values():
                measure(contender, load, 1.0)
            for _ in range(args.turns):
                for name, contender in contenders.items():
                    results[name].append(measure(contender, load, args.seconds))
            report(load, {name: merge(parts) for name, parts in results.items()})


@contextlib.contextmanager
def cluster(binary: Path) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory() as name:
        opened = Cluster(binary, dict(os.environ), Path(name), Path(name) / "cache")
        try:
            yield opened
        finally:
            opened.stop()


def ours(cluster: Cluster) -> dict[str, Contender]:
    """Two mock workers, and a frontend for each way to reach them."""
    mock = ("--engine", "mock", "--served-model-name", MODEL, "--speedup", str(SPEEDUP))
    workers = [cluster.worker(*mock).wait_until_ready().frontend for _ in range(2)]
    flags = {"tandem": (), "tandem over NATS": ("--request-plane", "nats")}
    nodes = {name: cluster.frontend("--log", "warn", *more) for name, more in flags.items()}
    for node in nodes.values():
        node.wait_until_ready()
        wait_for_instances(node, 2)
    return {
        name: Contender(node.process.pid, node.frontend, workers) for name, node in nodes.items()
    }


@contextlib.contextmanager
def process(python: Path, env: dict[str, str], *args: str) -> Iterator[subprocess.Popen]:
    quiet = subprocess.DEVNULL
    command = [str(python), "-m", *args]
    running = subprocess.Popen(command, env=env, stdout=quiet, stderr=quiet)
    try:
        yield running
    finally:
        running.terminate()
        running.wait()


@contextlib.contextmanager
def dynamo(
    python: Path, cluster: Cluster, workers: list[int]
) -> Iterator[tuple[str, Contender]]:
    """A frontend of Dynamo that knows the model, with its name."""
    ask = "import importlib.metadata; print(importlib.metadata.version('ai-dynamo'))"
    version = subprocess.check_output([str(python), "-c", ask], text=True).strip()
    port = free_port()
    flags = ("--router-mode", "kv", "--http-host", "127.0.0.1", "--http-port", str(port))
    env = cluster.env | {"DYN_LOG": "warn"}

    def knows_model() -> bool:
        try:
            return MODEL in request(port, "GET", "/v1/models").text
        except OSError:
            return False

    with process(python, env, "dynamo.frontend", *flags) as running:
        eventually(knows_model, timeout=60)
        yield f"Dynamo {version}", Contender(running.pid, port, workers)


def low_port() -> int:
    """A free port that Dynamo takes for its system server: none above 32767."""
    for port in range(20_000, 2**15):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("all ports are taken")


@contextlib.contextmanager
def mocker(python: Path, cluster: Cluster) -> Iterator[int]:
    """A mock worker of Dynamo; yields its system port."""
    port = low_port()
    model = ROOT / "models/tandem-nano-chat"
    flags = ("--model-path", str(model), "--model-name", MODEL, "--speedup-ratio", str(SPEEDUP))
    env = cluster.env | {"DYN_LOG": "warn", "DYN_SYSTEM_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    with process(python, env, "dynamo.mocker", *flags):
        yield port


if __name__ == "__main__":
    main()
