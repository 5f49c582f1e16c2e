"""A `tandem` process: started, watched, and never left behind."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from openmetrics import Metrics
from raw_http import Response, request

START_TIMEOUT = 90.0
STOP_TIMEOUT = 8.0
MODEL = "tandem-nano-chat"

SELECTED = re.compile(
    r"Selected worker: worker_id=(?P<worker>\d+).*?"
    r"cached blocks: (?P<cached>\d+), total blocks: (?P<total>\d+)"
)


class Lines:
    """What a process prints, line by line, while it prints it."""

    def __init__(self, pipe) -> None:
        self._lines: list[str] = []
        self._grown = threading.Condition()
        self._closed = False
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def _read(self, pipe) -> None:
        for line in pipe:
            with self._grown:
                self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._grown.notify_all()
        with self._grown:
            self._closed = True
            self._grown.notify_all()

    def mark(self) -> int:
        """A position; pass it as `since` to look only at later lines."""
        with self._grown:
            return len(self._lines)

    def since(self, mark: int = 0) -> list[str]:
        with self._grown:
            return self._lines[mark:]

    def wait_for(self, pattern: str, since: int = 0, timeout: float = 10.0) -> str | None:
        """The first line after `since` that matches; `None` at the end of output or time."""
        compiled = re.compile(pattern)
        deadline = time.monotonic() + timeout
        with self._grown:
            seen = since
            while True:
                for line in self._lines[seen:]:
                    if compiled.search(line):
                        return line
                seen = len(self._lines)
                left = deadline - time.monotonic()
                if self._closed or left <= 0:
                    return None
                self._grown.wait(left)

    def end(self, timeout: float) -> list[str]:
        """Everything, once the process has closed its end."""
        self._reader.join(timeout)
        return self.since()


class Tandem:
    """One `tandem` process with its output."""

    def __init__(self, binary: Path, *args: str, env: dict[str, str] | None = None) -> None:
        self.command = [str(binary), *args]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
        )
        self.out = Lines(self.process.stdout)
        self.log = Lines(self.process.stderr)
        self.gateway = 0
        self.frontend = 0

    def wait_until_ready(self, timeout: float = START_TIMEOUT) -> Tandem:
        """Waits for the summary and learns the ports from it."""
        if self.out.wait_for(r"^ready in", timeout=timeout) is None:
            self.stop()
            raise AssertionError(f"tandem did not become ready within {timeout} s\n{self.story()}")
        self.gateway = self._port("gateway")
        self.frontend = self._port("frontend")
        return self

    def _port(self, role: str) -> int:
        for line in self.out.since():
            if found := re.search(rf"{role} http://[^\s/]+:(\d+)", line):
                return int(found[1])
        raise AssertionError(f"the summary names no {role} address\n{self.story()}")

    def story(self, lines: int = 40) -> str:
        """What a person needs to see when a test fails."""
        code = self.process.poll()
        state = "running" if code is None else f"exit code {code}"
        out = "\n".join(self.out.since()[-lines:])
        log = "\n".join(self.log.since()[-lines:])
        return f"$ {' '.join(self.command)}\n[{state}]\n--- stdout\n{out}\n--- log\n{log}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float) -> int:
        """The exit code; fails the test if the process does not end in time."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            story = self.story()
            self.stop()
            raise AssertionError(f"still running after {timeout} s\n{story}") from None

    def stop(self) -> None:
        """Ends the process, politely first."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.out.end(2.0)
        self.log.end(2.0)

    def __enter__(self) -> Tandem:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def get(self, path: str, port: int | None = None) -> Response:
        return request(port or self.frontend, "GET", path)

    def metrics(self, port: int | None = None) -> Metrics:
        response = self.get("/metrics", port)
        assert response.status == 200, response
        return Metrics.parse(response.text)

    def wait_for_metric(self, reached, timeout: float = 10.0) -> Metrics:
        """The first metrics for which `reached(metrics)` is true."""
        deadline = time.monotonic() + timeout
        while True:
            metrics = self.metrics()
            if reached(metrics):
                return metrics
            if time.monotonic() > deadline:
                raise AssertionError(f"not reached within {timeout} s:\n{metrics.text}")
            time.sleep(0.02)

    def selections(self, since: int = 0) -> list[tuple[str, int]]:
        """(worker id, cached blocks) of each routing decision in the log."""
        found = (SELECTED.search(line) for line in self.log.since(since))
        return [(match["worker"], int(match["cached"])) for match in found if match]
