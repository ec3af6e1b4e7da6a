#!/usr/bin/env bash
# Runs the fuzzers of the file formats and prints what docs/reliability.md has in its table.
#
#   scripts/fuzz.sh [SECONDS [FORMAT ...]]     of each format: b2nd npy npz (default: 60 seconds of all)
#
# FUZZ_BLOSC2=sources builds c-blosc2 from its sources with the same checks (first 2 minutes, downloads 75 MB); else it is the
# library of the package blosc2, inside of which nothing is checked. What is tried is kept in build/fuzz/corpus, so that the next
# run goes on from there; what was found stands in build/fuzz/found, and the exit code is 1.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
seconds=${1:-60}
formats=("${@:2}")
if [ ${#formats[@]} -eq 0 ]; then
  formats=(b2nd npy npz)
fi
command -v clang++ >/dev/null || fail "expected clang with libFuzzer (Debian: clang libclang-rt-dev), found none"
python=$(environment_python)
PATH=${python%/*}:$PATH
build=build/fuzz
options=()

# The sources inside another package of the registry, whose c-blosc2 is the one nearest to the library's version.
blosc2_with_checks() {
  local root=$ROOT/build/blosc2-checked source
  if [ ! -f "$root/lib/libblosc2.a" ]; then
    mkdir -p "$root"
    "$python" "$ROOT/scripts/source_archive.py" hdf5plugin 7.1.0 "$root"
    tar xzf "$root"/hdf5plugin-7.1.0.tar.gz -C "$root"
    source=$root/hdf5plugin-7.1.0/lib
    local flags="-fsanitize=address,fuzzer-no-link -fno-omit-frame-pointer"
    cmake -S "$source/c-blosc2" -B "$root/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
      -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" \
      -DBUILD_TESTS=OFF -DBUILD_FUZZERS=OFF -DBUILD_BENCHMARKS=OFF -DBUILD_EXAMPLES=OFF -DBUILD_PLUGINS=OFF \
      -DBUILD_SHARED=OFF -DBUILD_STATIC=ON -DPREFER_EXTERNAL_ZLIB=ON \
      -DBLOSC_LZ4_SOURCE_DIR="$source/lz4-clib" -DBLOSC_ZSTD_SOURCE_DIR="$source/zstd" \
      -DCMAKE_INSTALL_PREFIX="$root" >"$root/log.txt" 2>&1
    cmake --build "$root/build" --parallel "$(nproc)" >>"$root/log.txt" 2>&1
    cmake --install "$root/build" >>"$root/log.txt"
  fi
  build=build/fuzz-blosc2
  options+=("-DBLOSC2_ROOT=$root")
}

case ${FUZZ_BLOSC2:-library} in
  library) ;;
  sources) blosc2_with_checks ;;
  *) fail "[FUZZ_BLOSC2] expected library or sources, got ${FUZZ_BLOSC2}" ;;
esac

cmake --preset fuzz -B "$build" -Wno-unused-cli -DPython_EXECUTABLE="$python" "${options[@]}" >/dev/null
targets=()
for format in "${formats[@]}"; do
  targets+=("fuzz_$format")
done
cmake --build "$build" --parallel "$(nproc)" --target "${targets[@]}" >/dev/null
mkdir -p "$build/found"

found=0
printf '%-7s %10s %9s %9s %9s %8s\n' format executions per_s coverage peak_MB findings
for format in "${formats[@]}"; do
  mkdir -p "$build/corpus/$format"
  log=$build/$format.log
  # An input that takes 10 s hangs; 256 MiB at once is memory taken by a number in the file.
  "$build/cpp/fuzz/fuzz_$format" -dict="cpp/fuzz/$format.dict" -max_len=65536 -timeout=10 -malloc_limit_mb=256 \
    -rss_limit_mb=1024 -use_value_profile=1 -artifact_prefix="$build/found/${format}_" -max_total_time="$seconds" \
    -print_final_stats=1 "$build/corpus/$format" "cpp/fuzz/corpus/$format" >"$log" 2>&1 || found=1
  findings=$(grep -c 'Test unit written to' "$log" || true)
  number() { sed -n "s/^stat::$1: *//p" "$log"; }
  coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  printf '%-7s %10s %9s %9s %9s %8s\n' "$format" "$(number number_of_executed_units)" "$(number average_exec_per_sec)" \
    "${coverage:--}" "$(number peak_rss_mb)" "$findings"
  if [ "$findings" != 0 ]; then
    grep -E '^SUMMARY|Test unit written to|^==[0-9]+==' "$log" || true
  fi
done
[ "$found" = 0 ] || fail "a fuzzer stopped: see $build/*.log and $build/found"
