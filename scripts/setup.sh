#!/usr/bin/env bash
# Sets up everything that this package needs, on a Debian 12 with Python 3.11 and nothing else, or on top of what is there.
#
#   scripts/setup.sh [EXTRAS]     EXTRAS of pyproject.toml, separated by commas (default: demo)
#
# Installs missing OS packages where it may, else says which. Uses the active virtual environment, else makes .venv; with
# PYTHON=3.12, or another version that is installed, makes .venv-3.12.
# A torch that is installed is used and not replaced. Where scripts/wheels.sh has made a wheel of these sources for this Python,
# nothing is compiled, unless EXTRAS has test or lint.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
extras=${1:-demo}

system_python=$(command -v python3) || system_python=
if [ -n "${PYTHON:-}" ]; then
  system_python=$(interpreter "$PYTHON")
  [ -n "$system_python" ] || fail "[PYTHON] expected a version that is installed, such as 3.12, got: $PYTHON"
fi
python=$(environment_python)
wheel=
if [[ ,$extras, != *,test,* && ,$extras, != *,lint,* ]]; then
  wheel=$(fitting_wheel "$([ -x "$python" ] && echo "$python" || echo "$system_python")")
fi
packages=()
if [ -z "$wheel" ]; then
  packages+=(g++ libtbb-dev libhwy-dev libeigen3-dev zlib1g-dev libopencv-core-dev libopencv-imgproc-dev)
fi
if [[ ,$extras, == *,test,* ]]; then
  packages+=(catch2 strace clang libclang-rt-dev ccache)
fi
# pre-commit gets the list of files from git; clang checks locks.
if [[ ,$extras, == *,lint,* ]]; then
  packages+=(git clang)
fi
# Debian's own Python comes without these two; others bring them.
if [ -z "$system_python" ] || [ "$system_python" = /usr/bin/python3 ]; then
  packages+=(python3-venv)
  if [ -z "$wheel" ]; then packages+=(python3-dev); fi
fi

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
  missing=()
  for package in "${packages[@]}"; do
    if [ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)" != "install ok installed" ]; then
      missing+=("$package")
    fi
  done
  if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
      fail "these OS packages are missing; as root, run:
  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    fi
    say "OS packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
elif [ -z "$wheel" ]; then
  say "not a Debian: a C++20 compiler, oneTBB, Eigen, zlib and OpenCV (core, imgproc) are taken as installed"
fi

compile_once
[ -n "$system_python" ] || fail "expected python3, found none"
if [ ! -x "$python" ]; then
  folder=${python%/bin/python}
  say "virtual environment: ${folder##*/}"
  sees_system=()
  if "$system_python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
    sees_system=(--system-site-packages)
  fi
  "$system_python" -m venv "${sees_system[@]}" "$folder"
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "expected Python 3.10 or later, got $("$python" -V)"
"$python" -m pip --version >/dev/null || fail "expected pip in the environment of $python"

pip_install() { "$python" -m pip install --disable-pip-version-check --root-user-action=ignore --quiet "$@"; }

installed_torch() {
  "$python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true
}

if [ -z "$(installed_torch)" ]; then
  say "torch (the largest download)"
  pip_install torch==2.14.1 torchvision==0.29.1
fi

constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
cp scripts/constraints.txt "$constraints"
echo "torch==$(installed_torch)" >>"$constraints"

if [ -n "$wheel" ]; then
  say "$(basename "$wheel")[$extras], with torch $(installed_torch)"
  pip_install -c "$constraints" --force-reinstall --no-deps "$wheel"
  pip_install -c "$constraints" "$wheel[$extras]"
  say "set up in ${python%/bin/python}"
  exit
fi

# The build uses this torch and this blosc2, so it takes place in this environment and not in one of pip's own.
say "build tools"
pip_install -c "$constraints" "scikit-build-core>=0.11" "pybind11>=3.0" "blosc2>=4.12; python_version>='3.11'" "blosc2>=4.3; python_version<'3.11'" cmake ninja
say "fastnnunet-loader[$extras], with torch $(installed_torch)"
pip_install -c "$constraints" --no-build-isolation ".[$extras]"
say "set up in ${python%/bin/python}"
