#!/usr/bin/env bash
# Checks with clang that nothing touches what a mutex guards without its lock (cpp/fastnnunet/base/mutex.h). Nothing is
# built. See Note [Locks are checked] in ARCHITECTURE.md.
#
#   scripts/thread_safety.sh [FILE ...]     default: the sources of the core and the bindings that include annotated headers
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
command -v clang++ >/dev/null || fail "expected clang++ (Debian: clang), found none"
python=$(environment_python)

files=("$@")
if [ ${#files[@]} -eq 0 ]; then
  # What a header guards, only sources that include it can touch; of bindings.h, which all bindings include, those that use it.
  mapfile -t annotated < <(grep -rlE 'FASTNNUNET_(GUARDED_BY|REQUIRES)' cpp/fastnnunet --include='*.h' | sed 's|^cpp/||')
  patterns=(-e base/mutex.h -e BoundPipeline)
  for header in "${annotated[@]}"; do
    patterns+=(-e "#include \"$header\"")
  done
  mapfile -t files < <(grep -rlF "${patterns[@]}" cpp/fastnnunet cpp/bindings --include='*.cpp' | grep -v /windows/ | sort)
fi

mapfile -t others < <("$python" - <<'PYTHON'
import importlib.util
import sysconfig

print(sysconfig.get_paths()["include"])
for package in ("pybind11", "torch", "blosc2"):
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.submodule_search_locations:
        print(spec.submodule_search_locations[0] + "/include")
PYTHON
)
options=(-std=c++20 -fsyntax-only -Wthread-safety -Werror=thread-safety -Icpp -Icpp/include -isystem /usr/include/eigen3)
for folder in "${others[@]}"; do
  options+=(-isystem "$folder")
  if [[ $folder == */torch/include ]]; then
    options+=(-DFASTNNUNET_WITH_TORCH -DTORCH_TARGET_VERSION=0x020a000000000000 '-DFASTNNUNET_TORCH_VERSION="any"')
  fi
done
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" \
  clang++ "${options[@]}" || fail "clang found something"
say "locks: nothing in ${#files[@]} files"
