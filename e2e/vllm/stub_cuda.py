"""Writes stand-ins for the CUDA libraries that PyTorch's Linux wheel is linked with.

The wheel on PyPI is built for CUDA and does not load without those libraries, which are gigabytes.
Where there is no accelerator, nothing in them is ever needed but the answer that there is none. Each
stand-in has the functions that the wheel's own libraries ask for, under the versions that they ask
for, and answers "no device".

Usage: stub_cuda.py SITE_PACKAGES/torch/lib      (needs gcc, nm and objdump)
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

NAMES = "cudart cupti cublas cublasLt cudnn cufft cufile curand cusparse cusparseLt nccl nvrtc nvshmem_host"
CUDA = re.compile(rf"lib({'|'.join(NAMES.split())})\.so\.\d+")
NO_DEVICE = 100
"""cudaErrorNoDevice."""

# Symbols without a version, by how they begin; the longest beginning counts.
OWNERS = {
    "cublasLt": "cublasLt",
    "cublas": "cublas",
    "cuda": "cudart",
    "cudnn": "cudnn",
    "cufft": "cufft",
    "cuFile": "cufile",
    "cupti": "cupti",
    "curand": "curand",
    "cusparseLt": "cusparseLt",
    "cusparse": "cusparse",
    "nccl": "nccl",
    "pnccl": "nccl",
    "nvrtc": "nvrtc",
    "nvshmem": "nvshmem_host",
}


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Wanted:
    """What the libraries of a directory ask of CUDA's: functions by library and version."""

    def __init__(self, directory: Path) -> None:
        self.functions: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        libraries = sorted(directory.glob("*.so*"))
        own = [library for library in libraries if not CUDA.fullmatch(library.name)]
        unversioned: set[str] = set()
        defined: set[str] = set()
        for library in own:
            homes = self._versions(library)
            for line in output("nm", "-D", "--with-symbol-versions", str(library)).splitlines():
                kind, symbol = line.split()[-2:]
                name, _, version = symbol.partition("@")
                if kind not in "Uw":
                    defined.add(name)
                elif version in homes:
                    self.functions[homes[version]][version].add(name)
                elif not version:
                    unversioned.add(name)
        for name in unversioned - defined:
            if library := self._owner(name):
                self.functions[library][""].add(name)

    def _versions(self, library: Path) -> dict[str, str]:
        """The library of each version; notes the libraries that are needed at all."""
        homes, current = {}, None
        for line in output("objdump", "-p", str(library)).splitlines():
            words = line.split()
            if words[:1] == ["NEEDED"] and CUDA.fullmatch(words[1]):
                self.functions[words[1]]
            elif words[:2] == ["required", "from"]:
                current = words[2].rstrip(":")
            elif len(words) == 4 and words[0].startswith("0x") and current:
                if CUDA.fullmatch(current):
                    homes[words[3]] = current
        return homes

    def _owner(self, name: str) -> str | None:
        begins = [prefix for prefix in OWNERS if name.startswith(prefix)]
        if not begins:
            return None
        stem = f"lib{OWNERS[max(begins, key=len)]}.so."
        return next((library for library in self.functions if library.startswith(stem)), None)


def source(name: str) -> str:
    """A function that says that there is no device, as that function says it."""
    if name == "__cudaRegisterFatBinary":
        return "static void *none; void **__cudaRegisterFatBinary(void *image) { return &none; }"
    if name.startswith("__cuda"):
        return f"long {name}(void) {{ return 0; }}"
    if name in ("cudaGetLastError", "cudaPeekAtLastError"):
        return f"int {name}(void) {{ return 0; }}"
    if name == "cudaGetDeviceCount":
        return f"int {name}(int *count) {{ *count = 0; return {NO_DEVICE}; }}"
    if name in ("cudaRuntimeGetVersion", "cudaDriverGetVersion"):
        return f"int {name}(int *version) {{ *version = 0; return 0; }}"
    if re.search(r"[gG]etError(String|Name)$", name):
        return f'const char *{name}(int error) {{ return "there is no CUDA here"; }}'
    return f"long {name}(void) {{ return {NO_DEVICE}; }}"


def build(library: str, versions: dict[str, set[str]], directory: Path) -> int:
    names = sorted(set().union(*versions.values()))
    with TemporaryDirectory() as scratch:
        code, script = Path(scratch, "stub.c"), Path(scratch, "stub.map")
        code.write_text("\n".join(map(source, names)) + "\n")
        flags = ["-shared", "-fPIC", "-w", "-fno-builtin", "-nostdlib", f"-Wl,-soname,{library}"]
        if tagged := {version: found for version, found in versions.items() if version}:
            blocks = [
                f"{version} {{ global: {'; '.join(sorted(found))}; }};"
                for version, found in tagged.items()
            ]
            script.write_text("\n".join(blocks) + "\n")
            flags.append(f"-Wl,--version-script={script}")
        subprocess.run(["gcc", *flags, "-o", str(directory / library), str(code)], check=True)
    return len(names)


def main() -> None:
    directory = Path(sys.argv[1])
    wanted = Wanted(directory)
    count = sum(build(library, found, directory) for library, found in wanted.functions.items())
    print(f"{len(wanted.functions)} stand-ins with {count} functions in {directory}")


if __name__ == "__main__":
    main()
