"""The report and the bars themselves."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

import report
from figures import Figures, percentile


def test_a_figure_below_its_bar_fails_and_is_kept() -> None:
    figures = Figures()
    figures.at_least("share of answers", 0.95, 0.95)
    with pytest.raises(AssertionError, match="share of answers is 0.94, and has to be >= 0.95"):
        figures.at_least("share of answers", 0.94, 0.95)
    with pytest.raises(AssertionError, match="seconds is 2, and has to be <= 1"):
        figures.at_most("seconds", 2.0, 1.0)
    assert [each["passed"] for each in figures.found] == [True, False, False]


def test_percentiles_are_of_the_sorted_values() -> None:
    values = [9.0, 1.0, 5.0, 3.0, 7.0]
    assert percentile(values, 0.5) == 5.0 and percentile(values, 0.95) == 9.0 and percentile(values, 0.0) == 1.0


def test_the_report_says_what_failed_and_why(tmp_path: Path) -> None:
    results = [
        {"name": "health-check", "passed": True, "error": None, "duration_seconds": 0.1, "figures": []},
        {"name": "failover", "passed": False, "error": "share is 0.5", "duration_seconds": 2.0, "figures": []},
    ]
    path = tmp_path / "local/test-report.json"
    report.write(path, "local", datetime.now(timezone.utc), results, 1)
    found = json.loads(path.read_text())
    assert (found["status"], found["exit_code"]) == ("FAILED", 1)
    assert (found["total_tests"], found["passed_tests"], found["failed_tests"]) == (2, 1, 1)
    assert found["test_results"][1]["error"] == "share is 0.5"
