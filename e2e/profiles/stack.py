"""What the cases of a profile ask of the stack under test, wherever it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from openmetrics import Metrics
from tandem_process import SELECTED

MODEL = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
"""The name that clients see; in the profile `local` a small model answers to it."""


class Stack(ABC):
    """A gateway with the semantic router, a frontend, one prefill and two decode workers."""

    name: str
    gateway: int
    """Port on loopback: through the semantic router."""
    frontend: int
    """Port on loopback: around it."""

    @abstractmethod
    def health(self) -> dict[str, bool]:
        """Whether each component serves."""

    @abstractmethod
    def frontend_log(self) -> list[str]:
        """All lines so far."""

    @abstractmethod
    def metrics(self) -> Metrics:
        """Those of the frontend."""

    @abstractmethod
    def registered(self) -> list[str]:
        """What processes have registered, as keys of etcd."""

    @abstractmethod
    def connections(self) -> int:
        """Clients of NATS; what is counted are processes that exchange events."""

    @abstractmethod
    def device_use(self) -> float:
        """The largest share of a worker's device that is at work now, 0 to 1."""

    @abstractmethod
    def tokens_per_step(self) -> tuple[float, float] | None:
        """Generated tokens and forward passes of the decode workers, if they count them."""

    @abstractmethod
    def kill_decode_worker(self) -> None:
        """Ends one decode worker without a warning."""

    @abstractmethod
    def decode_workers(self) -> int:
        """Decode workers that serve."""

    @abstractmethod
    def stop(self) -> None:
        """Removes everything."""

    def selections(self, since: int = 0) -> list[tuple[str, int]]:
        """Worker and cached blocks of each routing decision after a line of the log."""
        found = (SELECTED.search(line) for line in self.frontend_log()[since:])
        return [(each["worker"], int(each["cached"])) for each in found if each]
