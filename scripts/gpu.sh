#!/usr/bin/env bash
# A kit for a machine with a GPU and without an index: wheels in parts, and one script that installs from them and measures.
#
#   scripts/gpu.sh [FOLDER]      default: build/gpu
#
# The machine has CUDA, CPython 3.12 and torch 2.11; the kit brings nnU-Net, this package (scripts/wheels.sh linux-x86_64 comes
# first), its checks and benchmarks. No part is larger than 60 MiB, so that they can be carried one by one. There:
#   FOLDER/try.sh PART [PART ...]     keeps the parts in a folder of ~/fastnnunet_kit, one for each kit; with the last of them it
#                                     installs, and runs what fits into eight minutes; figures are written to $OUT, or to the
#                                     folder out beside the parts
#   FOLDER/try.sh                     goes on with the kit that was used last
# Made with CPython 3.12, which pip asks what nnU-Net needs there. DEVICE=cpu ITERATIONS=1
# WARM_UP=0 tries the kit without a GPU.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
kit=${1:-build/gpu}
torch=2.11.0
limit=$((60 * 1024 * 1024))

python=$(interpreter 3.12)
[ -n "$python" ] || fail "expected CPython 3.12, found none"
wheel=$(fitting_wheel "$python")
[ -n "$wheel" ] || fail "expected a wheel of these sources for CPython 3.12 in dist/, found none: run scripts/wheels.sh linux-x86_64"
rm -rf "$kit"
mkdir -p "$kit/wheels" "$kit/parts"

say "what nnU-Net needs beside torch $torch"
"$python" -m venv "$kit/environment"
"$kit/environment/bin/pip" install --quiet --disable-pip-version-check --dry-run --ignore-installed --report "$kit/report.json" \
  "$wheel[demo,gpu,metrics]" "torch==$torch" pytest hypothesis setuptools -c scripts/constraints.txt
"$kit/environment/bin/python" scripts/gpu/names.py "$kit/report.json" >"$kit/requirements.txt"
"$kit/environment/bin/pip" wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$kit/wheels" -r "$kit/requirements.txt"
cp "$wheel" "$kit/wheels/"

say "parts"
tar -C "$ROOT" -czf "$kit/wheels/project.tar.gz" --exclude='*.so' --exclude=__pycache__ pyproject.toml tests benchmarks
id=$(cd "$kit/wheels" && sha256sum -- * | sha256sum | cut -c 1-12)
"$kit/environment/bin/python" scripts/gpu/parts.py "$kit/wheels" "$kit/parts" "$limit" "$id"
cp scripts/gpu/try.sh "$kit/try.sh"
rm -rf "$kit/environment" "$kit/wheels"
ls -l "$kit/parts" "$kit/try.sh"
