"""A `tandem gateway` process."""

from __future__ import annotations

import json
import re
import time

from openmetrics import Metrics
from tandem_process import START_TIMEOUT, Tandem

RELOADS = "tandem_router_config_reloads_total"
RELOADED = {"result": "success"}


class Gateway(Tandem):
    """Started on a free port, which it names when it is ready."""

    def wait_until_ready(self, timeout: float = START_TIMEOUT) -> Gateway:
        if self.out.wait_for(r"^ready in", timeout=timeout) is None:
            self.stop()
            raise AssertionError(f"the gateway did not become ready\n{self.story()}")
        address = self.out.wait_for(r"^gateway https?://")
        self.gateway = int(re.search(r"^gateway \S+:(\d+)", address)[1])
        return self

    def metrics(self, port: int | None = None) -> Metrics:
        return super().metrics(port or self.gateway)

    def wait_for_count(self, name: str, value: float, **labels: str) -> None:
        """Waits until the metric has the value."""
        self.wait_for_metric(lambda metrics: metrics.value(name, **labels) == value)

    def accesses(self, mark: int, count: int, timeout: float = 10.0) -> list[dict]:
        """The fields of `count` lines of the access log after `mark`; the log must be JSON."""
        deadline = time.monotonic() + timeout
        while True:
            lines = [json.loads(line)["fields"] for line in self.log.since(mark)]
            found = [line for line in lines if line.get("event") == "access"]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {count} lines\n{self.story()}"
            time.sleep(0.02)
