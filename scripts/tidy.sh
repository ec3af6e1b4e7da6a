#!/usr/bin/env bash
# Looks for bugs in C++ files with the checks of .clang-tidy.
#
#   scripts/tidy.sh [FILE ...]     default: the core and the bindings, three minutes on one core
#
# Compiler options come from compile_commands.json in the folder TIDY_BUILD (default: build/dev). If build/dev does not exist, the
# script configures the preset core, which has no bindings. TIDY_JOBS: processes at once (default: one per core).
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
  # Only sources of this build.
  mapfile -t files < <(sed -nE 's/^ *"file": "(.*)",?$/\1/p' "$build/compile_commands.json" | grep -E '/cpp/(fastnnunet|bindings)/' | sort -u)
fi
# clang does not know all warnings of GCC.
printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P "${TIDY_JOBS:-$(nproc)}" \
  clang-tidy -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wthread-safety || fail "clang-tidy found something"
say "clang-tidy: nothing in ${#files[@]} files"
