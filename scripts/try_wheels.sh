#!/usr/bin/env bash
# Tries the wheels in dist/ as users have them: installed by pip, on systems without a compiler, beside other packages.
#
#   scripts/try_wheels.sh [STEP ...]     default: all but windows, in this order
#
#   neighbours   symbols, sizes, time to import; packages with libraries of their own in the same process, before and after
#   pythons      digests and tests of the installed wheel, for each CPython
#   torches      the same wheel beside other versions of torch
#   systems      pip install and the demo, without root or compiler, in Debian 12, Debian 13 and Ubuntu 22.04
#   aarch64      digests and tests under qemu
#   windows      digests, tests and a training of two short epochs in CPython for Windows, under Wine
#
# SHOWN names files and folders of this machine that the systems are to see, such as pip's settings for another index.
# `systems` and `aarch64` need root, for debootstrap, and the packages bubblewrap and qemu-user-static; `windows` needs wine64. Each step takes 10 to 30
# minutes on two cores, most of them downloads of torch.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
steps=("$@")
[ $# -gt 0 ] || steps=(neighbours pythons torches systems aarch64)
work=$ROOT/build/try_wheels
mkdir -p "$work"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
tests=(tests/digests tests/loader tests/inference)
export OMP_WAIT_POLICY=PASSIVE FASTNNUNET_TEST_CACHE=$work/test-cache

wheel_of() { # TAG such as cp312, MACHINE
  local found=(dist/fastnnunet_loader-"$version-$1-$1"-*_"$2".whl)
  [ -e "${found[0]}" ] || fail "expected a wheel for $1 on $2 in dist/, found none: run scripts/wheels.sh linux-$2"
  echo "$ROOT/${found[0]}"
}

tags() { for file in dist/fastnnunet_loader-"$version"-*_x86_64.whl; do basename "$file" | cut -d- -f3; done | sort; }

pip_in() { "$1/bin/python" -m pip install --disable-pip-version-check --root-user-action=ignore --quiet "${@:2}"; }

# An environment with the wheel and what the tests need beside it; the rest of the arguments are requirements for pip.
environment_with() { # FOLDER, TAG, [REQUIREMENT ...]
  local folder=$1 tag=$2 python
  python=$(interpreter "3.${tag#cp3}")
  [ -n "$python" ] || fail "expected an interpreter for $tag, found none"
  rm -rf "$folder"
  "$python" -m venv "$folder"
  pip_in "$folder" "fastnnunet-loader[demo] @ file://$(wheel_of "$tag" x86_64)" "pytest>=8" "pytest-xdist>=3.5" \
    "hypothesis>=6.100" "prometheus-client" "${@:3}"
}

run_tests() { # FOLDER, tests
  "$1/bin/python" -m pytest -q -n 2 --dist loadfile -p no:cacheprovider "${@:2}"
}

neighbours() {
  environment_with "$work/neighbours" cp312 opencv-python-headless "blosc2>=4.12" numba scikit-learn imagecodecs SimpleITK torch-abi-audit
  "$work/neighbours/bin/python" scripts/wheels/check.py
  "$work/neighbours/bin/torch-abi-audit" "$(wheel_of cp312 x86_64)"
}

pythons() {
  local tag
  for tag in $(tags); do
    say "tests of the wheel for $tag"
    environment_with "$work/$tag" "$tag"
    run_tests "$work/$tag" "${tests[@]}"
    rm -rf "${work:?}/$tag"
  done
}

torches() {
  local torch
  for torch in ${TORCHES:-2.9.1 2.10.0 2.13.0 2.14.1 2.15.0}; do
    say "the wheel for cp312 beside torch $torch"
    environment_with "$work/torch-$torch" cp312 "torch==$torch"
    "$work/torch-$torch/bin/python" -c "import torch; assert torch.__version__.split('+')[0] == '$torch', torch.__version__"
    run_tests "$work/torch-$torch" tests/loader tests/digests
    rm -rf "${work:?}/torch-$torch"
  done
}

# A root file system of a distribution, with its own Python and no compiler.
root_of() { # NAME, SUITE, MIRROR, [options of debootstrap]
  local folder=$work/roots/$1
  if [ ! -e "$folder/made" ]; then
    say "root file system: $1"
    rm -rf "$folder"
    mkdir -p "$folder"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "${@:4}" "$2" "$folder" "$3" >"$folder.log" 2>&1 ||
      { tail -n 5 "$folder.log" >&2 && fail "expected debootstrap to make $1"; }
    touch "$folder/made"
  fi
}

system() { # NAME
  local root=$work/roots/$1 home=$work/homes/$1 tag wheel file shown=()
  rm -rf "$home"
  mkdir -p "$home"
  chown 1000:1000 "$home"
  tag=cp$(chroot "$root" python3 -c 'import sys; print(f"{sys.version_info[0]}{sys.version_info[1]}")')
  wheel=$(basename "$(wheel_of "$tag" x86_64)")
  for file in /etc/resolv.conf /etc/hosts ${SHOWN:-}; do shown+=(--ro-bind-try "$(realpath "$file")" "$file"); done
  say "$1: $tag, glibc $(chroot "$root" ldd --version | sed -n '1s/.* //p')"
  bwrap --unshare-user --unshare-pid --unshare-ipc --uid 1000 --gid 1000 --die-with-parent --ro-bind "$root" / \
    --proc /proc --dev /dev --tmpfs /tmp --size 65536 --tmpfs /dev/shm --bind "$home" /home --ro-bind dist /mnt "${shown[@]}" \
    --setenv HOME /home --setenv WHEEL "$wheel" --chdir /home bash -euc '
      if command -v cc c++ gcc g++ clang; then echo "expected no compiler"; exit 1; fi
      python3 -m venv environment
      environment/bin/pip install --quiet --disable-pip-version-check "/mnt/$WHEEL[demo]"
      environment/bin/fastnnunet doctor --quick || [ $? = 1 ] # 1: warnings
      environment/bin/fastnnunet demo --epochs 4 --seconds 3'
  rm -rf "$home"
}

systems() {
  command -v debootstrap >/dev/null && command -v bwrap >/dev/null || fail "expected debootstrap and bwrap: apt-get install debootstrap bubblewrap"
  root_of debian12 bookworm http://deb.debian.org/debian
  root_of debian13 trixie http://deb.debian.org/debian
  # Ubuntu keeps python3-venv apart from main. Debian does not have its keys, so what is fetched here is not checked.
  root_of ubuntu22.04 jammy http://archive.ubuntu.com/ubuntu --components=main,universe --no-check-gpg
  local name
  for name in debian12 debian13 ubuntu22.04; do system "$name"; done
}

# Debian's Python for arm64 and packages for it, unpacked and run by qemu: nothing of them is executed otherwise.
aarch64() {
  command -v debootstrap >/dev/null && command -v qemu-aarch64-static >/dev/null || fail "expected debootstrap and qemu-aarch64-static: apt-get install debootstrap qemu-user-static"
  local root=$work/roots/aarch64 site=$work/roots/aarch64/site package
  if [ ! -e "$root/made" ]; then
    say "root file system: aarch64"
    rm -rf "$root"
    mkdir -p "$root"
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,libgomp1 bookworm "$root" http://deb.debian.org/debian >"$root.log" 2>&1 ||
      fail "expected debootstrap to fetch Debian for arm64, see $root.log"
    for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
    cp "$(command -v qemu-aarch64-static)" "$root/"
    touch "$root/made"
  fi
  say "packages for aarch64"
  rm -rf "$site" "$work/pure"
  # Those that the index has as sources only are Python alone.
  "$(environment_python)" -m pip wheel --quiet --no-deps --wheel-dir "$work/pure" -c scripts/constraints.txt ${PURE:-nnunetv2 batchgenerators batchgeneratorsv2 acvl-utils dynamic-network-architectures}
  "$(environment_python)" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$site" --only-binary=:all: \
    --python-version 3.11 --implementation cp --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux_2_24_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --find-links "$work/pure" \
    "$(wheel_of cp311 aarch64)[nnunet]" "pytest>=8" "hypothesis>=6.100" torch==2.14.1 -c scripts/constraints.txt
  say "tests under qemu"
  local home=/project
  mkdir -p "$root$home"
  cp -r tests pyproject.toml "$root$home/"
  mount -t proc proc "$root/proc"
  chroot "$root" /qemu-aarch64-static -E PYTHONPATH=/site -E HOME=/tmp -E OMP_NUM_THREADS=2 /usr/bin/python3.11 -c '
import os, sys
os.chdir("/project")
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))' "${tests[@]}" || local code=$?
  umount "$root/proc"
  return "${code:-0}"
}

# CPython for Windows is that of the headers (scripts/wheels.sh). Newer NumPy needs a function that Wine 8 lacks.
windows() {
  local wine site=$work/windows/site python=$ROOT/build/wheels/windows/cp311/python.exe
  wine=$(command -v wine64 || command -v wine || ls /usr/lib/wine/wine64 2>/dev/null) || fail "expected wine64: apt-get install wine64"
  [ -e "$python" ] || fail "expected CPython for Windows: run scripts/wheels.sh windows-x86_64"
  say "packages for Windows"
  rm -rf "$site" "$work/pure"
  mkdir -p "$work/windows"
  "$(environment_python)" -m pip wheel --quiet --no-deps --wheel-dir "$work/pure" -c scripts/constraints.txt ${PURE:-nnunetv2 batchgenerators batchgeneratorsv2 acvl-utils dynamic-network-architectures}
  "$(environment_python)" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$site" --only-binary=:all: \
    --python-version 3.11 --implementation cp --platform win_amd64 --find-links "$work/pure" --no-compile \
    "$ROOT"/dist/fastnnunet_loader-"$version"-cp311-cp311-win_amd64.whl"[nnunet]" "pytest>=8" "hypothesis>=6.100" colorama \
    "torch==${WINDOWS_TORCH:-2.10.0}" "numpy==2.1.3" -c scripts/constraints.txt
  # What the tests write is for Windows only. A pipe, for Wine cannot hand a file over as standard output.
  mkdir -p "$work/windows/test-cache"
  under_wine() {
    WINEDEBUG=-all WINEPREFIX=$work/windows/prefix WINEDLLOVERRIDES="mscoree,mshtml=" KMP_AFFINITY=disabled PYTHONPATH="Z:$site" \
      PYTHONUTF8=1 FASTNNUNET_TEST_CACHE="Z:$work/windows/test-cache" "$wine" "$python" "$@" 2>&1 | cat
  }
  local failed=()
  say "import, digests and tests under Wine"
  under_wine -c "import fastnnunet_loader as fl; print(fl.__version__, fl.available_cores(), fl._core.simd_target())" || failed+=(import)
  under_wine -m pytest -q -p no:cacheprovider tests/digests tests/package/test_operating_system.py "${tests[@]:1}" || failed+=(tests)
  say "a training of two short epochs under Wine"
  under_wine -m fastnnunet_loader demo --epochs 2 --seconds 1 || failed+=(training)
  [ ${#failed[@]} -eq 0 ] || fail "failed under Wine: ${failed[*]}"
}

for step in "${steps[@]}"; do
  case $step in neighbours | pythons | torches | systems | aarch64 | windows) ;; *) fail "expected steps of: neighbours pythons torches systems aarch64 windows, got: $step" ;; esac
done
for step in "${steps[@]}"; do
  say "== $step"
  "$step"
done
say "all passed: ${steps[*]}"
