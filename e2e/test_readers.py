"""The readers of these tests notice what is wrong; or nothing that uses them could fail."""

from __future__ import annotations

import pytest

from openmetrics import Metrics
from raw_http import Response, event_data

GOOD = """\
# HELP requests Finished requests.
# TYPE requests counter
requests_total{model="a\\"b",status="ok"} 2
requests_total{model="c",status="ok"} 3
# TYPE load gauge
load 0.5
# EOF
"""


def test_metrics_are_read() -> None:
    metrics = Metrics.parse(GOOD)
    assert metrics.value("requests_total") == 5
    assert metrics.value("requests_total", model="c") == 3
    assert metrics.value("load") == 0.5
    assert metrics.value("absent_total") == 0
    assert metrics.names() == {"requests_total", "load"}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("# EOF\n", ""),
        ("requests_total{model=\"c\",status=\"ok\"}", 'requests_total{model="a\\"b",status="ok"}'),
        ("# TYPE load gauge\n", ""),
        ("load 0.5", "load"),
        ("load 0.5", "load half"),
        ("# TYPE load gauge", "# TYPE load speed"),
        ('model="c"', "model=c"),
        ("requests_total{model=\"c\"", "requests{model=\"c\""),
    ],
)
def test_bad_metrics_are_noticed(good: str, bad: str) -> None:
    assert good in GOOD
    with pytest.raises((AssertionError, ValueError)):
        Metrics.parse(GOOD.replace(good, bad))


def test_events_are_read() -> None:
    assert event_data("data: a\n\ndata: b\n\n") == ["a", "b"]


@pytest.mark.parametrize("text", ["data: a\n", "data: a\ndata: b\n\n", ": comment\n\n", "a\n\n"])
def test_bad_events_are_noticed(text: str) -> None:
    with pytest.raises(AssertionError):
        event_data(text)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"error": "text"}', b'{"error": {"message": "", "type": "t", "param": null}}'],
)
def test_bad_errors_are_noticed(body: bytes) -> None:
    with pytest.raises((AssertionError, KeyError, TypeError)):
        Response(400, {"content-type": "application/json"}, body).error()
