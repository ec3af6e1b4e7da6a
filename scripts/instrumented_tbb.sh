#!/usr/bin/env bash
# Builds oneTBB with ThreadSanitizer for the preset tsan: what passes from thread to thread inside of oneTBB is only seen there
# if oneTBB itself has the checks.
#
#   scripts/instrumented_tbb.sh     half a minute of two cores; does nothing if build/tbb-tsan has it already
#
# The source is Debian's source package of the version that is installed. FASTNNUNET_TBB_SOURCE=FOLDER names another.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
compile_once
python=$(environment_python)
PATH=${python%/*}:$PATH
root=$ROOT/build/tbb-tsan
log=$root/log.txt

# Debian's source package of onetbb, unpacked into $root/source. A list of its own: nothing of the system's changes.
debian_source() {
  command -v apt-get >/dev/null || fail "[oneTBB for ThreadSanitizer] expected a Debian, or FASTNNUNET_TBB_SOURCE=FOLDER with its source, got neither"
  local lists=$root/apt
  mkdir -p "$lists/state/partial" "$lists/cache" "$root/download"
  apt-get indextargets --format 'deb-src $(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Component: main' |
    sort -u >"$lists/sources.list"
  local options=(
    "-oDir::Etc::SourceList=$lists/sources.list" -oDir::Etc::SourceParts=/dev/null
    "-oDir::State::Lists=$lists/state" "-oDir::Cache=$lists/cache" -oAPT::Sandbox::User=root
  )
  apt-get "${options[@]}" update -qq >>"$log" 2>&1 || fail "[oneTBB for ThreadSanitizer] apt-get update failed, see $log"
  (cd "$root/download" && apt-get "${options[@]}" source --download-only -qq "onetbb=$version" >>"$log" 2>&1) ||
    fail "[oneTBB for ThreadSanitizer] expected the source package onetbb $version, got none, see $log"
  mkdir -p "$root/source"
  tar xf "$root/download"/onetbb_*.orig.tar.* -C "$root/source" --strip-components=1
}

version=$(dpkg-query -W -f='${source:Version}' libtbb-dev 2>/dev/null || echo unknown)
stamp="$version $(c++ --version | head -1) ${FASTNNUNET_TBB_SOURCE:-}"
if [ "$(cat "$root/stamp" 2>/dev/null || true)" = "$stamp" ]; then
  exit 0
fi
rm -rf "$root"
mkdir -p "$root"
source=${FASTNNUNET_TBB_SOURCE:-$root/source}
if [ -z "${FASTNNUNET_TBB_SOURCE:-}" ]; then
  debian_source
fi
cmake -S "$source" -B "$root/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DTBB_SANITIZE=thread \
  -DTBB_TEST=OFF -DTBB_STRICT=OFF -DTBBMALLOC_BUILD=OFF -DTBB_ENABLE_IPO=OFF -DTBB_DISABLE_HWLOC_AUTOMATIC_SEARCH=ON \
  -DCMAKE_POLICY_VERSION_MINIMUM=3.5 -DCMAKE_INSTALL_PREFIX="$root" -DCMAKE_INSTALL_LIBDIR=lib >>"$log" 2>&1 &&
  cmake --build "$root/build" --parallel "$(nproc)" --target install >>"$log" 2>&1 ||
  fail "[oneTBB for ThreadSanitizer] it does not build, see $log"
echo "$stamp" >"$root/stamp"
say "oneTBB with ThreadSanitizer in ${root#"$ROOT"/}"
