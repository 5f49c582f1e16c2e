"""Servers in which gateways share answers, and which can be killed."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

MILVUS = Path(__file__).resolve().parents[2] / ".venv-milvus/bin/python"
START_TIMEOUT = 60.0


class Store:
    """A server on a port of its own, of the kind `redis` or `milvus`."""

    def __init__(self, kind: str, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.kind = kind
        port = str(self.port)
        if kind == "redis":
            self.command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", ""]
        else:
            self.command = [str(MILVUS), "-m", "milvus_lite", "server", "--host", "127.0.0.1"]
            self.command += ["--port", port, "--data-dir", str(folder)]
        self.start()

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(self.command, stdout=quiet, stderr=quiet)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, f"{self.kind} did not start"
                time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
