"""CPU that a frontend spends per request and per streamed token: tandem's against NVIDIA Dynamo's.

Both run at the same time on the same etcd, NATS and mock workers, and are loaded in turn, so that
whatever else the machine does hits both. Needs etcd, nats-server and `.venv-dynamo`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "e2e"))

from cluster import CHAT, Cluster, eventually, free_port, wait_for_instances  # noqa: E402
from processes import cpu_seconds, rss_mib  # noqa: E402
from raw_http import request  # noqa: E402

MODEL = "mock"
WORDS = "river boat garden lamp door market horse basket teacher painter road hill".split()


@dataclass
class Load:
    """What the clients do."""

    name: str
    clients: int
    tokens: int
    stream: bool


@dataclass
class Result:
    requests: int
    tokens: int
    cpu_seconds: float
    latencies: list[float]
    rss_mib: float


LOADS = [
    Load("whole answers of 2 tokens", clients=16, tokens=2, stream=False),
    Load("streamed answers of 100 tokens", clients=16, tokens=100, stream=True),
]


def prompt(client: int, number: int) -> str:
    """About 100 tokens; the first half is shared by the requests of a client."""
    shared = " ".join(WORDS[(client + i) % len(WORDS)] for i in range(40))
    own = " ".join(WORDS[(number * 7 + i * i) % len(WORDS)] for i in range(40))
    return f"{shared} {own} {number}"


async def client(port: int, load: Load, index: int, until: float, done: list[float]) -> None:
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
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        done.append(time.monotonic() - started)
    writer.close()


async def drive(port: int, load: Load, seconds: float) -> list[float]:
    done: list[float] = []
    until = time.monotonic() + seconds
    await asyncio.gather(*(client(port, load, i, until, done) for i in range(load.clients)))
    return done


def measure(pid: int, port: int, load: Load, seconds: float) -> Result:
    before = cpu_seconds(pid)
    latencies = asyncio.run(drive(port, load, seconds))
    spent = cpu_seconds(pid) - before
    return Result(len(latencies), len(latencies) * load.tokens, spent, latencies, rss_mib(pid))


def merge(results: list[Result]) -> Result:
    return Result(
        sum(one.requests for one in results),
        sum(one.tokens for one in results),
        sum(one.cpu_seconds for one in results),
        [latency for one in results for latency in one.latencies],
        max(one.rss_mib for one in results),
    )


def row(name: str, result: Result) -> str:
    centiles = statistics.quantiles(result.latencies, n=100)
    cpu = result.cpu_seconds
    return (
        f"| {name} | {result.requests} | {result.requests / cpu:.0f} | {result.tokens / cpu:.0f} "
        f"| {centiles[49] * 1000:.1f} | {centiles[98] * 1000:.1f} | {result.rss_mib:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/tandem")
    parser.add_argument("--dynamo", type=Path, default=ROOT / ".venv-dynamo/bin/python")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        cluster = Cluster(args.binary, dict(os.environ), directory, directory / "cache")
        try:
            run(cluster, args)
        finally:
            cluster.stop()


def run(cluster: Cluster, args: argparse.Namespace) -> None:
    mock = ("--engine", "mock", "--served-model-name", MODEL, "--speedup", "200")
    for _ in range(2):
        cluster.worker(*mock).wait_until_ready()
    ours = {
        "tandem": cluster.frontend("--log", "warn"),
        "tandem over NATS": cluster.frontend("--log", "warn", "--request-plane", "nats"),
    }
    frontends = {}
    for name, node in ours.items():
        node.wait_until_ready()
        wait_for_instances(node, 2)
        frontends[name] = (node.process.pid, node.frontend)
    port = free_port()
    flags = ["--router-mode", "kv", "--http-host", "127.0.0.1", "--http-port", str(port)]
    stock = subprocess.Popen(
        [str(args.dynamo), "-m", "dynamo.frontend", *flags],
        env=cluster.env | {"DYN_LOG": "warn"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def knows_model() -> bool:
            try:
                return MODEL in request(port, "GET", "/v1/models").text
            except OSError:
                return False

        eventually(knows_model, timeout=60)
        frontends["Dynamo 0.6.1"] = (stock.pid, port)
        for load in LOADS:
            print(f"\n{load.name}, {load.clients} clients\n")
            print("| frontend | requests | per CPU s | tokens per CPU s | p50 ms | p99 ms | RSS MiB |")
            print("|---|---|---|---|---|---|---|")
            results: dict[str, list[Result]] = {name: [] for name in frontends}
            for pid, door in frontends.values():
                measure(pid, door, load, 1.0)
            for _ in range(args.turns):
                for name, (pid, door) in frontends.items():
                    results[name].append(measure(pid, door, load, args.seconds))
            for name, parts in results.items():
                print(row(name, merge(parts)), flush=True)
    finally:
        stock.terminate()
        stock.wait()


if __name__ == "__main__":
    main()
