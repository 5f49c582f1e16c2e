"""The report of a profile: JSON for programs, beside pytest's JUnit file."""

from __future__ import annotations

import json
import platform
from datetime import datetime, timezone
from pathlib import Path


def write(path: Path, profile: str, started: datetime, results: list[dict], exit_code: int) -> None:
    """Writes what happened; `results` has a name, whether it passed, error, seconds and figures."""
    ended = datetime.now(timezone.utc)
    passed = sum(each["passed"] for each in results)
    report = {
        "profile": profile,
        "status": "PASSED" if exit_code == 0 else "FAILED",
        "exit_code": exit_code,
        "start_time": started.isoformat(timespec="milliseconds"),
        "end_time": ended.isoformat(timespec="milliseconds"),
        "duration_seconds": round((ended - started).total_seconds(), 3),
        "total_tests": len(results),
        "passed_tests": passed,
        "failed_tests": len(results) - passed,
        "environment": {"python": platform.python_version(), "machine": platform.machine()},
        "test_results": results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
