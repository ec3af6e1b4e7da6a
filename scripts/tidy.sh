#!/usr/bin/env bash
# Looks for mistakes in C++ files with the checks of .clang-tidy.
#
#   scripts/tidy.sh [FILE ...]     default: all of the core and the bindings, three minutes on one core
#
# How a file is compiled is read from BUILD/compile_commands.json: BUILD is TIDY_BUILD where it is set, else build/dev, else the
# build of the preset core, which is configured where there is none.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
python=$(environment_python)
PATH=${python%/*}:$PATH
command -v clang-tidy >/dev/null || fail "expected clang-tidy in ${python%/*}: run scripts/setup.sh test,lint"

build=${TIDY_BUILD:-build/dev}
if [ ! -f "$build/compile_commands.json" ]; then
  [ -z "${TIDY_BUILD:-}" ] || fail "[TIDY_BUILD] expected a folder with compile_commands.json, got $TIDY_BUILD"
  build=build/core
  cmake --preset core -DPython_EXECUTABLE="$python" >/dev/null
fi

files=("$@")
if [ ${#files[@]} -eq 0 ]; then
  # Of the sources of this build: the preset core has no bindings.
  mapfile -t files < <(sed -nE 's/^ *"file": "(.*)",?$/\1/p' "$build/compile_commands.json" | grep -E '/cpp/(fastnnunet|bindings)/' | sort -u)
fi
# GCC's flags are not all clang's.
printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P "${TIDY_JOBS:-$(nproc)}" \
  clang-tidy -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option || fail "clang-tidy found something"
say "clang-tidy: nothing in ${#files[@]} files"
