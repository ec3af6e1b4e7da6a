#!/usr/bin/env bash
# All tests, from nothing: sets up, then runs each step and says how long it took.
#
#   scripts/test.sh [STEP ...]     lint core asan fuzz tsan wheel python (default: all, in this order)
#   PYTHON=3.12 scripts/test.sh quick       for another CPython that is installed: what takes minutes, without trainings
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
steps=("$@")
if [ ${#steps[@]} -eq 0 ]; then
  steps=(lint core asan fuzz tsan wheel python)
fi
for step in "${steps[@]}"; do
  case $step in lint | core | asan | fuzz | tsan | wheel | python | quick) ;; *) fail "expected steps of: lint core asan fuzz tsan wheel python quick, got: $step" ;; esac
done

# What spins while it waits takes the core that others need.
export OMP_WAIT_POLICY=PASSIVE

# Warnings are errors, also where pip builds the extension; the rest repeats what pyproject.toml defines.
SKBUILD_CMAKE_DEFINE="FASTNNUNET_WARNINGS_AS_ERRORS=ON;FASTNNUNET_BUILD_TESTS=OFF" scripts/setup.sh test,lint,docs
compile_once
python=$(environment_python)
PATH=${python%/*}:$PATH
jobs=$(nproc)

lint() {
  "$python" -m pre_commit run --all-files --show-diff-on-failure
}

# A preset of CMakePresets.json; the rest is what the tests are started with.
core_tests() {
  cmake --preset "$1" -DPython_EXECUTABLE="$python" >/dev/null
  cmake --build --preset "$1" --parallel "$jobs"
  "${@:2}" ctest --test-dir "build/$1/cpp" --no-tests=error --parallel "$jobs" --output-on-failure --progress
}

core() { core_tests core; }

asan() { core_tests asan; }

fuzz() {
  if command -v clang++ >/dev/null; then
    scripts/fuzz.sh 12
  else
    say "no clang: the corpus of the fuzzers has been replayed by the step asan, and nothing new is tried"
  fi
}

tsan() {
  scripts/instrumented_tbb.sh
  # ThreadSanitizer needs a memory layout that newer kernels do not always give to a randomised process.
  local fixed_layout=()
  if setarch -R true 2>/dev/null; then
    fixed_layout=(setarch -R)
  fi
  core_tests tsan "${fixed_layout[@]}"
}

# Of this Python and this machine; README names the commands for the others.
wheel() {
  PYTHONS=$python scripts/wheels.sh "linux-$(uname -m)"
  scripts/try_wheels.sh neighbours
}

# Two at a time, a file each; what is prepared once serves both.
tests_of_python() { FASTNNUNET_TEST_CACHE=${FASTNNUNET_TEST_CACHE:-$ROOT/build/test-cache} "$python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"; }

python() { tests_of_python --durations=25; }

quick() {
  tests_of_python -m "not slow" tests/{digests,loader,transforms,augmentation,pytorch,packing,inference,resampling,prediction,evaluation}
}

failed=()
for step in "${steps[@]}"; do
  say "== $step"
  started=$SECONDS
  # A shell of its own, so that the first failing command ends the step and the others still run.
  set +e
  (
    set -e
    "$step"
  )
  code=$?
  set -e
  if [ $code -eq 0 ]; then
    say "== $step: passed in $((SECONDS - started)) s"
  else
    failed+=("$step")
    say "== $step: FAILED in $((SECONDS - started)) s"
  fi
done
if [ ${#failed[@]} -gt 0 ]; then
  fail "failed: ${failed[*]}"
fi
say "all passed: ${steps[*]}"
