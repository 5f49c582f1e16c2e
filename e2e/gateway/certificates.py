"""Certificates for servers on this machine."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs itself, and its key, both in PEM."""

    cert: Path
    key: Path


def certificate(directory: Path, name: str = "localhost") -> Certificate:
    """A new one for 127.0.0.1, written over what the directory has."""
    directory.mkdir(exist_ok=True)
    made = Certificate(directory / "tls.crt", directory / "tls.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", f"/CN={name}", "-days", "1",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", made.key, "-out", made.cert],
        check=True, capture_output=True,
    )
    return made
