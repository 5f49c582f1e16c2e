"""Workers whose engines are fakes in processes of their own, and a frontend that uses them."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from cluster import Cluster, Node, eventually, wait_for_instances
from raw_http import post

HERE = Path(__file__).resolve().parent
BLOCK = 32
"""Tokens of a block of the fake vLLM."""
numbers = itertools.count()


def command(dialect: str) -> str:
    return f"{sys.executable} {HERE / f'fake_{dialect}.py'}"


class Engine:
    """The fake behind a worker, as it tells of itself; a new one after each of its starts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _contact(self) -> dict:
        return json.loads(self._path.read_text())

    @property
    def pid(self) -> int:
        return self._contact()["pid"]

    def __call__(self, action: str, **members: Any) -> Any:
        answer = post(self._contact()["port"], f"/{action}", members)
        assert answer.status == 200, answer
        return answer.json()

    def set(self, **settings: Any) -> None:
        self("set", **settings)

    def state(self, name: str) -> Any:
        return self("state")[name]


class Served:
    """A worker with its engine."""

    def __init__(self, node: Node, engine: Engine) -> None:
        self.node, self.engine = node, engine


class Fleet:
    """Everything of one test, in a namespace of its own."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.namespace = f"engines{next(numbers)}"
        self.nodes: list[Node] = []

    def engine(self) -> Engine:
        return Engine(self.directory / f"control{next(numbers)}")

    def launch(self, dialect: str, *flags: str, args: str = "") -> Served:
        """Starts a worker whose engine it starts itself, with `args` for the engine."""
        engine = self.engine()
        node = self.worker(
            *("--engine", dialect, "--engine-command", command(dialect)),
            *("--engine-args", f"--control {engine._path} {args}"),
            *flags,
        )
        return Served(node, engine)

    def worker(self, *flags: str) -> Node:
        node = self.cluster.worker("--namespace", self.namespace, *flags)
        self.nodes.append(node)
        return node

    def frontend(self, *flags: str) -> Node:
        node = self.cluster.frontend("--namespace", self.namespace, *flags)
        self.nodes.append(node)
        return node

    def ready(self, frontend: Node, *workers: Served | Node) -> None:
        nodes = [one.node if isinstance(one, Served) else one for one in workers]
        for node in (frontend, *nodes):
            node.wait_until_ready()
        wait_for_instances(frontend, len(nodes))

    def stop(self) -> None:
        for node in self.nodes:
            node.process.terminate()
        for node in self.nodes:
            node.stop()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int) -> None:
    eventually(lambda: not alive(pid))


def children(pid: int) -> list[int]:
    """All processes below `pid`."""
    below: list[int] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except FileNotFoundError:
                continue
            if int(stat.rsplit(")", 1)[1].split()[1]) == pid:
                below += [int(entry), *children(int(entry))]
    return below
