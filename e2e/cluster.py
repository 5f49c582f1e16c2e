"""A cluster on loopback: etcd, nats-server, and `tandem` processes that find each other there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from raw_http import EventStream, Response, post, request
from tandem_process import MODEL, START_TIMEOUT, Tandem

CHAT = "/v1/chat/completions"
LEASE_TTL = 3
"""Seconds that a killed process stays registered, so that tests need not wait for long."""
ETCD = shutil.which("etcd")
NATS = shutil.which("nats-server", path=f"{os.environ['PATH']}:/usr/sbin")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def eventually(check: Callable[[], object], timeout: float = 15.0):
    """The first truthy result of `check`; fails the test if there is none in time."""
    deadline = time.monotonic() + timeout
    while True:
        if result := check():
            return result
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.05)


class Service:
    """A server that can be killed and started again with the same port and data."""

    def __init__(self, command: list[str], port: int, data: Path, log: Path) -> None:
        self.command = command
        self.port = port
        self.data = data
        self._log = log
        self._process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        eventually(listens)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def forget(self) -> None:
        """Loses all data."""
        shutil.rmtree(self.data)


class Node(Tandem):
    """A worker or a frontend."""

    def wait_until_ready(self, timeout: float = START_TIMEOUT) -> Node:
        if self.out.wait_for(r"^ready in", timeout=timeout) is None:
            self.stop()
            raise AssertionError(f"not ready within {timeout} s\n{self.story()}")
        text = "\n".join(self.out.since())
        found = re.search(r"^(?:frontend|system) https?://\S+:(\d+)$", text, re.MULTILINE)
        assert found, self.story()
        self.frontend = int(found[1])
        return self

    @property
    def instance(self) -> str:
        """A worker's id in the form that keys have."""
        found = re.search(r"^worker \w+ ([0-9a-f]+) serves", "\n".join(self.out.since()), re.M)
        assert found, self.story()
        return found[1]

    def figure(self, name: str) -> float:
        return self.metrics().value(f"tandem_worker_{name}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Cluster:
    """etcd and NATS, and everything that was started on them."""

    def __init__(self, binary: Path, env: dict[str, str], directory: Path, cache: Path) -> None:
        assert ETCD and NATS, "etcd and nats-server are missing; `make servers` installs them"
        self.binary, self.directory, self.cache = binary, directory, cache
        self.nodes: list[Node] = []
        port, peer = free_port(), free_port()
        client, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        self.etcd = Service(
            [
                ETCD,
                f"--data-dir={directory}/etcd",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peers}",
                f"--initial-advertise-peer-urls={peers}",
                f"--initial-cluster=default={peers}",
            ],
            port,
            directory / "etcd",
            directory / "etcd.log",
        )
        nats, self.monitor = free_port(), free_port()
        flags = ["-js", "-a", "127.0.0.1", "-p", str(nats), "-m", str(self.monitor)]
        self.nats = Service(
            [NATS, *flags, "-sd", str(directory / "nats")],
            nats,
            directory / "nats",
            directory / "nats.log",
        )
        self.env = env | {
            "ETCD_ENDPOINTS": client,
            "NATS_SERVER": f"nats://127.0.0.1:{nats}",
            "ETCD_LEASE_TTL": str(LEASE_TTL),
            "DYN_TCP_RPC_HOST": "127.0.0.1",
        }

    def launch(self, *args: str) -> Node:
        """Starts `tandem ARGS…` without waiting for it."""
        node = Node(self.binary, *args, env=self.env)
        self.nodes.append(node)
        return node

    def worker(self, *flags: str) -> Node:
        ports = ("--system-host", "127.0.0.1", "--system-port", "0")
        return self.launch("worker", *ports, "--cache-dir", str(self.cache), *flags)

    def frontend(self, *flags: str) -> Node:
        return self.launch("frontend", "--http-host", "127.0.0.1", "--http-port", "0", *flags)

    def etcdctl(self, *args: str) -> str:
        endpoint = f"--endpoints=127.0.0.1:{self.etcd.port}"
        env = os.environ | {"ETCDCTL_API": "3"}
        return subprocess.check_output(["etcdctl", endpoint, *args], env=env, text=True)

    def keys(self) -> list[str]:
        return self.etcdctl("get", "--prefix", "", "--keys-only").split()

    def connections(self) -> int:
        return request(self.monitor, "GET", "/connz").json()["num_connections"]

    def stop(self) -> None:
        for node in self.nodes:
            node.process.terminate()
        for node in self.nodes:
            node.stop()
        self.etcd.kill()
        self.nats.kill()


def wait_for_instances(frontend: Node, count: int) -> None:
    """Waits until `frontend` knows `count` workers."""

    def known() -> bool:
        return len(frontend.get("/health").json()["instances"]) == count

    eventually(known)


def body(text: str, tokens: int = 8, model: str = MODEL, **members) -> dict:
    messages = [{"role": "user", "content": text}]
    greedy = {"temperature": 0, "ignore_eos": True, "max_tokens": tokens}
    return {"model": model, "messages": messages, **greedy, **members}


def streamed(port: int, text: str, tokens: int, model: str = MODEL) -> str:
    """The whole text of a streamed answer; fails unless it is complete."""
    with EventStream(port, CHAT, body(text, tokens, model, stream=True)) as stream:
        *events, done = list(stream.events())
    assert done == "[DONE]", done
    choices = [json.loads(event)["choices"][0] for event in events]
    assert choices[-1]["finish_reason"] == "length", choices[-1]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


class Crowd:
    """Many clients at once."""

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(size)
        self.answers: list[Future[str]] = []

    def ask(self, ports: list[int], texts: list[str], tokens: int, model: str = MODEL) -> None:
        """Each text once, on the ports in turn."""
        for i, text in enumerate(texts):
            port = ports[i % len(ports)]
            self.answers.append(self._pool.submit(streamed, port, text, tokens, model))

    def running(self) -> int:
        return sum(not answer.done() for answer in self.answers)

    def results(self, timeout: float = 60.0) -> list[str]:
        """All answers; fails with the first error."""
        return [answer.result(timeout) for answer in self.answers]

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Throng:
    """Many clients, each of which asks again as soon as it has its answer, until stopped."""

    def __init__(self, size: int, port: int, texts: list[str], tokens: int, model: str) -> None:
        self._port, self._tokens, self._model = port, tokens, model
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.answers: dict[str, set[str]] = {text: set() for text in texts}
        """The different answers to each text."""
        self.failures: list[Exception] = []
        self.done = 0
        self._threads = [
            threading.Thread(target=self._ask, args=(texts[i % len(texts)],), daemon=True)
            for i in range(size)
        ]

    def _ask(self, text: str) -> None:
        while not self._stopping.is_set():
            try:
                answer = streamed(self._port, text, self._tokens, self._model)
            except Exception as failure:  # Whatever it is, the client has no answer.
                with self._lock:
                    self.failures.append(failure)
            else:
                with self._lock:
                    self.answers[text].add(answer)
                    self.done += 1

    @property
    def running(self) -> int:
        return sum(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> Throng:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)


class Traffic:
    """One request after the other, until stopped."""

    def __init__(self, port: int, text: str = "Hi") -> None:
        self._port, self._text = port, text
        self._stopping = threading.Event()
        self.answers: list[Response] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stopping.is_set():
            number = len(self.answers)
            self.answers.append(post(self._port, CHAT, body(f"{self._text} {number}", 4)))
            time.sleep(0.02)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(30)

    def failures(self) -> list[Response]:
        return [answer for answer in self.answers if answer.status != 200]
