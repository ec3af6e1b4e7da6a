#!/usr/bin/env bash
# Static libraries for a target, from sources:  scripts/wheels/dependencies.sh SOURCES TARGET PREFIX
#
# TARGET is one of zig's, such as x86_64-linux-gnu.2.28. What is there is not built again.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
sources=$(cd "$1" && pwd) target=$2 prefix=$(mkdir -p "$3" && cd "$3" && pwd)
here=$ROOT/scripts/wheels
jobs=${JOBS:-$(nproc)}
python=${TOOLS:?expected the folder of the build tools}/bin/python
export PATH=$TOOLS/bin:$PATH ZIG_TARGET=$target

# Which options make which library; each is configured alike.
library() { # NAME, then options of CMake
  local name=$1
  if [ -e "$prefix/built/$name" ]; then return; fi
  say "$name for $target"
  cmake --fresh -S "$sources/$name" -B "$prefix/build/$name" -G Ninja -DCMAKE_MAKE_PROGRAM="$TOOLS/bin/ninja" -DCMAKE_TOOLCHAIN_FILE="$here/zig.cmake" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib -DBUILD_SHARED_LIBS=OFF \
    -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_CXX_VISIBILITY_PRESET=hidden -DCMAKE_C_VISIBILITY_PRESET=hidden \
    -DCMAKE_VISIBILITY_INLINES_HIDDEN=ON -DCMAKE_POLICY_VERSION_MINIMUM=3.5 "${@:2}" >"$prefix/$name.log" 2>&1 &&
    cmake --build "$prefix/build/$name" --parallel "$jobs" >>"$prefix/$name.log" 2>&1 &&
    cmake --install "$prefix/build/$name" >>"$prefix/$name.log" 2>&1 || {
    tail -n 40 "$prefix/$name.log" >&2
    fail "expected to build $name for $target"
  }
  mkdir -p "$prefix/built"
  touch "$prefix/built/$name"
}

# Debian's archive of zlib has no CMake file that every compiler takes. Of its sources gz*.c are for files: only OpenCV for Windows
# and macOS names them, whose linkers take whole objects.
zlib() {
  if [ -e "$prefix/built/zlib" ]; then return; fi
  say "zlib for $target"
  mkdir -p "$prefix/build/zlib" "$prefix/lib" "$prefix/include" "$prefix/built"
  local name objects=() names=(adler32 compress crc32 deflate infback inffast inflate inftrees trees uncompr zutil)
  if [[ $target != *-linux-* ]]; then names+=(gzclose gzlib gzread gzwrite); fi
  # Or zlib takes macOS for the one before, which had no such function.
  local defined=()
  if [[ $target == *-macos* ]]; then defined+=(-Dfdopen=fdopen -DHAVE_UNISTD_H); fi
  for name in "${names[@]}"; do
    "$here/cc" -O2 -w "${defined[@]}" -fPIC -fvisibility=hidden -c "$sources/zlib/$name.c" -o "$prefix/build/zlib/$name.o"
    objects+=("$prefix/build/zlib/$name.o")
  done
  rm -f "$prefix/lib/libz.a"
  "$here/ar" rcs "$prefix/lib/libz.a" "${objects[@]}"
  cp "$sources/zlib/zlib.h" "$sources/zlib/zconf.h" "$prefix/include/"
  touch "$prefix/built/zlib"
}

zlib
library onetbb -DTBB_TEST=OFF -DTBB_STRICT=OFF -DTBBMALLOC_BUILD=OFF -DTBB_ENABLE_IPO=OFF
library highway -DBUILD_TESTING=OFF -DHWY_ENABLE_EXAMPLES=OFF -DHWY_ENABLE_TESTS=OFF -DHWY_ENABLE_CONTRIB=OFF -DHWY_SYSTEM_GTEST=ON
library eigen3 -DBUILD_TESTING=OFF -DEIGEN_BUILD_DOC=OFF -DEIGEN_BUILD_PKGCONFIG=OFF
library opencv -DBUILD_LIST=core,imgproc -DCPU_DISPATCH= -DBUILD_TESTS=OFF -DBUILD_PERF_TESTS=OFF -DBUILD_EXAMPLES=OFF \
  -DBUILD_opencv_apps=OFF -DBUILD_JAVA=OFF -DBUILD_opencv_python2=OFF -DBUILD_opencv_python3=OFF -DBUILD_ZLIB=OFF \
  -DZLIB_INCLUDE_DIR="$prefix/include" -DZLIB_LIBRARY="$prefix/lib/libz.a" -DOPENCV_GENERATE_PKGCONFIG=OFF \
  $("$python" "$here/opencv_off.py" "$sources/opencv/CMakeLists.txt")
# For Windows the names have OpenCV's version at their end.
for file in "$prefix"/lib/libopencv_*[0-9].a; do
  name=${file##*/}
  if [ -e "$file" ]; then mv "$file" "$prefix/lib/${name%%[0-9]*}.a"; fi
done
if [ -n "${WITH_TESTS:-}" ]; then library catch2 -DCATCH_DEVELOPMENT_BUILD=OFF -DBUILD_TESTING=OFF; fi
