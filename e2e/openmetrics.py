"""A strict little reader of the OpenMetrics text format.

https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: [0-9.]+)?"
)
LABEL = re.compile(r'(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)="(?P<value>(?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
SUFFIXES = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "info": ("_info",),
    "unknown": ("",),
}


@dataclass(frozen=True)
class Sample:
    """One line."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass
class Metrics:
    """Everything that one scrape returned."""

    text: str
    samples: list[Sample]

    @classmethod
    def parse(cls, text: str) -> Metrics:
        """Fails with the line at fault if `text` is not OpenMetrics."""
        lines = text.split("\n")
        assert lines[-2:] == ["# EOF", ""], f"the text must end in # EOF: {lines[-3:]}"
        kinds: dict[str, str] = {}
        samples = []
        for line in lines[:-2]:
            if line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ")
                assert family not in kinds, f"declared twice: {line}"
                assert kind in SUFFIXES, line
                kinds[family] = kind
            elif line.startswith("#"):
                assert re.match(r"# (HELP|UNIT) \S+ \S", line), line
            else:
                samples.append(_sample(line, kinds))
        series = [(sample.name, sample.labels) for sample in samples]
        assert len(series) == len(set(series)), "a series occurs twice"
        return cls(text, samples)

    def value(self, name: str, **labels: str) -> float:
        """The sum over all series of `name` that have `labels`; 0 if there is none."""
        return sum(sample.value for sample in self.series(name, **labels))

    def series(self, name: str, **labels: str) -> list[Sample]:
        wanted = set(labels.items())
        return [s for s in self.samples if s.name == name and wanted <= set(s.labels)]

    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}


def _sample(line: str, kinds: dict[str, str]) -> Sample:
    match = SAMPLE.fullmatch(line)
    assert match, f"not a sample: {line!r}"
    name = match["name"]
    declared = any(name == family + end for family, kind in kinds.items() for end in SUFFIXES[kind])
    assert declared, f"no # TYPE before: {line}"
    text = match["labels"] or ""
    labels = [(label["name"], label["value"]) for label in LABEL.finditer(text)]
    assert "".join(label[0] for label in LABEL.finditer(text)) == text, f"bad labels: {line}"
    return Sample(name, tuple(sorted(labels)), float(match["value"]))
