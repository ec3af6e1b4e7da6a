#!/usr/bin/env bash
# The tests of the core for another platform, with the compilers and libraries of its wheel:  scripts/wheels/core_tests.sh TARGET
#
# TARGET is linux-aarch64 or windows-x86_64; scripts/wheels.sh TARGET comes first. Prints the program, which qemu or Wine runs.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
cd "$ROOT"
export TOOLS=$ROOT/build/wheels/tools
prefix=$ROOT/build/wheels/$1 here=$ROOT/scripts/wheels
case $1 in
  linux-aarch64) zig=aarch64-linux-gnu.2.28 program=fastnnunet_tests ;;
  # The folder has the libraries that c-blosc2 asks for by Microsoft's names (scripts/wheels.sh).
  windows-x86_64) zig=x86_64-windows-gnu program=fastnnunet_tests.exe linked=-L$prefix/microsoft ;;
  *) fail "expected linux-aarch64 or windows-x86_64, got: $1" ;;
esac
compile_once
export CCACHE_COMPILERTYPE=clang CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1 CCACHE_COMPILERCHECK="string:ziglang 0.17.1 $zig"
export ZIG_TARGET=$zig PATH=$TOOLS/bin:$PATH
{
  "$here/sources.sh" "$ROOT/build/wheels/sources"
  WITH_TESTS=1 "$here/dependencies.sh" "$ROOT/build/wheels/sources" "$zig" "$prefix"
  cmake -S . -B "$prefix/tests" -G Ninja -DCMAKE_MAKE_PROGRAM="$TOOLS/bin/ninja" -DCMAKE_TOOLCHAIN_FILE="$here/zig.cmake" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$prefix" -DBLOSC2_ROOT="$prefix/blosc2" -DFASTNNUNET_BUILD_PYTHON=OFF \
    -DCMAKE_EXE_LINKER_FLAGS="${linked:-}"
  cmake --build "$prefix/tests" --parallel "$(nproc)"
} >&2
echo "$prefix/tests/cpp/$program"
