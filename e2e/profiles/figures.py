"""Numbers that a case measures, each with the bar that it has to clear."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Figures:
    """What one case measured."""

    found: list[dict] = field(default_factory=list)

    def at_least(self, name: str, value: float, bar: float) -> None:
        """Notes a number, and fails the case when it is below the bar."""
        self._note(name, value, ">=", bar, value >= bar)

    def at_most(self, name: str, value: float, bar: float) -> None:
        """Notes a number, and fails the case when it is above the bar."""
        self._note(name, value, "<=", bar, value <= bar)

    def _note(self, name: str, value: float, relation: str, bar: float, passed: bool) -> None:
        self.found.append({"name": name, "value": round(value, 4), "bar": f"{relation} {bar:g}", "passed": passed})
        assert passed, f"{name} is {value:.4g}, and has to be {relation} {bar:g}"


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
