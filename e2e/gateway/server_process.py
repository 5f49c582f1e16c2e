"""A model server that can be killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tandem_process import Lines


class ServerProcess:
    """An `Upstream` in a process of its own, which takes `delay` seconds for an answer."""

    def __init__(self, delay: float = 0.0) -> None:
        script = Path(__file__).resolve().parent.parent / "upstream.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(delay)], stdout=subprocess.PIPE
        )
        line = Lines(self.process.stdout).wait_for(r"^\d+$")
        assert line is not None, "the model server did not start"
        self.port = int(line)

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
