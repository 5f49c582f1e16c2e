"""What processes have used, from /proc, and the load that they are put under."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError("no VmRSS")


def load(binary: Path, name: str, port: int, *flags: object) -> dict:
    """What `load` reports of the server on the port."""
    command = [binary, "--port", port, *flags]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        reason = done.stderr.partition("\n")[0]
        raise SystemExit(f"malfunction: {name}: {reason}")
    return json.loads(done.stdout)
