#!/usr/bin/env bash
# Tries the wheels in dist/ as users have them: installed by pip, on systems without a compiler, beside other packages.
#
#   scripts/try_wheels.sh [STEP ...]     default: all of them, in this order
#
#   neighbours     symbols, sizes, time to import; packages with libraries of their own in the same process, before and after
#   pythons        digests and tests of the installed wheel, for each CPython
#   alone          loaders of scripts where nnU-Net is not installed
#   free_threaded  tests in several threads at once, for a CPython without Python's lock
#   torches        the same wheel beside other versions of torch
#   sdist          the source distribution, which pip builds
#   systems        pip install and the demo, without root or compiler, in Debian 12, Debian 13, Ubuntu 22.04 and a root of RHEL 8's
#                  age (scripts/wheels/old_root.sh)
#   aarch64        tests of the core, digests and tests under qemu
#   windows        digests, tests and a training of two short epochs in CPython for Windows, under Wine
#
# SHOWN names files and folders of this machine that the systems are to see, such as pip's settings for another index.
# `systems` and `aarch64` need root, for debootstrap, and the packages bubblewrap and qemu-user-static; `windows` needs wine64.
# A step takes 2 to 20 minutes on two cores where its root file systems are there, much of it downloads of torch, and up to 40 under qemu.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
cd "$ROOT"
steps=("$@")
[ $# -gt 0 ] || steps=(neighbours pythons alone free_threaded torches sdist systems aarch64 windows)
work=$ROOT/build/try_wheels
mkdir -p "$work"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
tests=(tests/digests tests/loader tests/inference)
# What these import beside the package with its extras demo and remote.
tests_need=("pytest>=8" "hypothesis>=6.100" prometheus-client nvidia-ml-py "moto[s3]>=5" flask flask-cors)
export OMP_WAIT_POLICY=PASSIVE FASTNNUNET_TEST_CACHE=$work/test-cache

wheel_of() { # TAG such as cp312 or cp314t, MACHINE
  local found=(dist/fastnnunet_loader-"$version-${1%t}-$1"-*_"$2".whl)
  [ -e "${found[0]}" ] || fail "expected a wheel for $1 on $2 in dist/, found none: run scripts/wheels.sh linux-$2"
  echo "$ROOT/${found[0]}"
}

tags() { for file in dist/fastnnunet_loader-"$version"-*_x86_64.whl; do basename "$file" | cut -d- -f4; done | sort; }

pip_in() { "$1/bin/python" -m pip install --disable-pip-version-check --root-user-action=ignore --quiet "${@:2}"; }

# An environment with the wheel and what the tests need beside it; the rest of the arguments are requirements for pip.
environment_with() { # FOLDER, TAG, [REQUIREMENT ...]
  local folder=$1 tag=$2 python wheel
  wheel=$(wheel_of "$tag" x86_64)
  python=$(interpreter "3.${tag#cp3}")
  [ -n "$python" ] || fail "expected an interpreter for $tag, found none"
  rm -rf "$folder"
  "$python" -m venv "$folder"
  pip_in "$folder" "fastnnunet-loader[demo,remote] @ file://$wheel" "${tests_need[@]}" "pytest-xdist>=3.5" \
    -c scripts/constraints.txt "${@:3}"
  torch_of "$folder"
}

torch_of() { "$1/bin/python" -c 'import torch; print("torch", torch.__version__)'; }

run_tests() { # FOLDER, tests
  "$1/bin/python" -m pytest -q -n 2 --dist loadfile -p no:cacheprovider "${@:2}"
}

# In an environment over the active one, which has torch and nnU-Net: what lies in both is taken from the upper one.
neighbours() {
  local python tag folder=$work/neighbours
  python=$(environment_python)
  tag=$("$python" -c 'import sys; print(f"cp{sys.version_info[0]}{sys.version_info[1]}")')
  rm -rf "$folder"
  "$python" -m venv "$folder"
  "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$(echo "$folder"/lib/python*/site-packages)/below.pth"
  pip_in "$folder" --force-reinstall --no-deps "$(wheel_of "$tag" "$(uname -m)")"
  pip_in "$folder" opencv-python-headless "blosc2>=4.3" numba scikit-learn imagecodecs SimpleITK torch-abi-audit
  "$folder/bin/python" scripts/wheels/check.py
  "$folder/bin/torch-abi-audit" --check torch fastnnunet_loader
  run_tests "$folder" tests/digests tests/loader/test_torch_memory.py
}

pythons() {
  local tag failed=()
  for tag in $(tags | grep -v 't$'); do
    say "tests of the wheel for $tag"
    environment_with "$work/$tag" "$tag"
    run_tests "$work/$tag" "${tests[@]}" || failed+=("$tag")
    rm -rf "${work:?}/$tag"
  done
  [ ${#failed[@]} -eq 0 ] || fail "tests failed for: ${failed[*]}"
}

# With the extra for transforms, and without nnU-Net, whose prepared data sets the other steps use.
alone() {
  local folder=$work/alone python
  python=$(interpreter 3.12)
  [ -n "$python" ] || fail "expected CPython 3.12, found none"
  rm -rf "$folder"
  "$python" -m venv "$folder"
  pip_in "$folder" "fastnnunet-loader[transforms,images] @ file://$(wheel_of cp312 x86_64)" "pytest>=8" hypothesis blosc2
  "$folder/bin/python" -c 'import importlib.util as i; assert i.find_spec("nnunetv2") is None'
  torch_of "$folder"
  "$folder/bin/python" -m pytest -q -p no:cacheprovider --noconftest -o pythonpath="tests tests/transforms tests/loader ." \
    tests/loader/test_from_arrays.py tests/loader/test_targets.py tests/loader/test_wrong_inputs.py tests/transforms/test_callables.py
  rm -rf "$folder"
}

# nnU-Net's packages are not there for it. Transforms in Python make torch import Triton, which asks for the lock.
free_threaded() {
  local folder=$work/free_threaded python wheel
  wheel=$(wheel_of cp314t x86_64)
  python=$(interpreter 3.14t)
  [ -n "$python" ] || fail "expected CPython 3.14t, found none"
  rm -rf "$folder"
  "$python" -m venv "$folder"
  pip_in "$folder" "fastnnunet-loader[transforms] @ file://$wheel" "pytest>=8" pytest-run-parallel hypothesis blosc2
  "$folder/bin/python" -c 'import sys, fastnnunet_loader as fl; assert not sys._is_gil_enabled(); print(fl.__version__, sys.version)'
  torch_of "$folder"
  local run=(env PYTHON_GIL=0 "$folder/bin/python" -m pytest -q -p no:cacheprovider --noconftest
    -o pythonpath="tests tests/transforms tests/loader .")
  # A loader adds threads where those that it has are busy, which four loaders at once on two cores leave to chance.
  local alone=tests/loader/test_from_arrays.py::test_threads_are_added_while_batches_are_waited_for
  "${run[@]}" tests/package/test_threads_at_once.py "$alone"
  "${run[@]}" --parallel-threads=4 --iterations=2 --deselect "$alone" tests/loader/test_from_arrays.py \
    tests/loader/test_targets.py tests/transforms/test_callables.py
  rm -rf "$folder"
}

# One environment, in which pip exchanges torch.
torches() {
  local torch minor left_out without folder=$work/torches failed=()
  environment_with "$folder" cp312
  for torch in ${TORCHES:-2.9.1 2.10.0 2.13.0 2.14.1 2.15.0}; do
    say "the wheel for cp312 beside torch $torch"
    # Two releases and their libraries would take twice the disk.
    "$folder/bin/python" -m pip list --format=freeze | sed -n -E 's/^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==.*/\1/p' |
      grep -v nvidia-ml-py | xargs -r "$folder/bin/python" -m pip uninstall --yes --quiet
    # nnU-Net's trainers import torchvision. pip chooses the release that fits torch; without a bound it could be 0.2, which takes any.
    minor=${torch#2.} left_out=()
    if ! pip_in "$folder" --no-cache-dir "torch==$torch" "torchvision>=0.24"; then
      say "no torchvision for torch $torch: without the digests of nnU-Net's trainers"
      left_out=(--deselect tests/digests/test_digests.py::test_batches_are_the_committed_ones
        --deselect tests/digests/test_digests.py::test_they_are_the_same_with_the_code_for_an_old_processor)
      pip_in "$folder" --no-cache-dir "torch==$torch"
    fi
    # Before 2.10 there is no pinned memory, and Python transforms draw from the training loop's random numbers (README).
    if [ "${minor%%.*}" -lt 10 ]; then
      for without in test_loader.py::test_tensors_keep_their_memory[torch] test_loader.py::test_batches_are_the_same_in_memory_of_torch \
        test_loader.py::test_memory_of_torch_is_never_written_twice \
        test_loader.py::test_training_and_transforms_in_python_draw_independently \
        test_torch_memory.py::test_pinned_memory_is_there_and_a_reason_where_it_is_not; do
        left_out+=(--deselect "tests/loader/$without")
      done
    fi
    "$folder/bin/python" -c "import torch; assert torch.__version__.split('+')[0] == '$torch', torch.__version__"
    # Whether there is pinned memory, and if not, why.
    "$folder/bin/python" -c "from fastnnunet_loader.doctor.software import this_package as f; c = f(); print(c.found, c.why)"
    run_tests "$folder" tests/digests tests/loader/test_torch_memory.py tests/loader/test_loader.py "${left_out[@]}" ||
      failed+=("$torch")
  done
  rm -rf "$folder"
  [ ${#failed[@]} -eq 0 ] || fail "tests failed beside torch: ${failed[*]}"
}

# With the compiler and the libraries of this machine; scripts/setup.sh installs them.
sdist() {
  local python
  python=$(environment_python)
  compile_once
  rm -rf "$work/sdist"
  # Of a copy of git's files: the build walks every folder, and in build/ Wine's drive Z: is a link to this machine's root.
  mkdir -p "$work/sdist/source"
  git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --no-dereference -t "$work/sdist/source"
  "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$work/sdist/tools" scikit-build-core
  (cd "$work/sdist/source" && PYTHONPATH=$work/sdist/tools "$python" -c "
from scikit_build_core.build import build_sdist
print(build_sdist('$work/sdist'))")
  "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$work/sdist/site" "$work"/sdist/*.tar.gz
  (cd "$work/sdist" && PYTHONPATH=$work/sdist/site "$python" -c "
import fastnnunet_loader as fl, numpy
from fastnnunet_loader.doctor.software import this_package
assert '$work/sdist/site' in fl.__file__, fl.__file__
fl.resample(numpy.zeros((1, 9, 9, 9), 'f'), (5, 5, 5), 3)
print(this_package().found)")
}

# A root file system of a distribution, with its own Python and no compiler.
root_of() { # NAME, SUITE, MIRROR, [options of debootstrap]
  local folder=$work/roots/$1
  if [ ! -e "$folder/made" ]; then
    say "root file system: $1"
    # A run that was stopped may have left /proc mounted there.
    umount --lazy "$folder/proc" "$folder/sys" 2>/dev/null || true
    rm -rf --one-file-system "$folder"
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
  tag=cp$(chroot "$root" python3 -c 'import sys; print(f"{sys.version_info[0]}{sys.version_info[1]}")')
  wheel=$(wheel_of "$tag" x86_64)
  wheel=${wheel##*/}
  for file in /etc/resolv.conf /etc/hosts ${SHOWN:-}; do
    if [ -d "$file" ]; then mkdir -p "$root$file"; elif [ -e "$file" ]; then mkdir -p "$root${file%/*}" && touch "$root$file"; fi
    shown+=(--ro-bind-try "$(realpath "$file")" "$file")
  done
  say "$1: $tag, glibc $(chroot "$root" ldd --version | sed -n '1s/.* //p')"
  bwrap --unshare-user --unshare-pid --unshare-ipc --uid 1000 --gid 1000 --die-with-parent --ro-bind "$root" / \
    --proc /proc --dev /dev --tmpfs /tmp --size 65536 --tmpfs /dev/shm --bind "$home" /home --ro-bind dist /mnt "${shown[@]}" \
    --setenv HOME /home --setenv WHEEL "$wheel" --chdir /home bash -euc '
      if command -v cc c++ gcc g++ clang; then echo "expected no compiler"; exit 1; fi
      python3 -m venv environment
      environment/bin/pip install --quiet --disable-pip-version-check "/mnt/$WHEEL[demo]"
      export nnUNet_raw=/home/raw nnUNet_preprocessed=/home/preprocessed nnUNet_results=/home/results
      mkdir "$nnUNet_raw" "$nnUNet_preprocessed" "$nnUNet_results"
      environment/bin/fastnnunet doctor --quick || [ $? = 1 ] # 1: warnings
      environment/bin/fastnnunet demo --epochs 4 --seconds 3'
  rm -rf "$home"
}

systems() {
  command -v debootstrap >/dev/null && command -v bwrap >/dev/null || fail "expected debootstrap and bwrap: apt-get install debootstrap bubblewrap"
  local name
  for name in ${SYSTEMS:-debian12 debian13 ubuntu22.04 rhel8-like}; do
    case $name in
      debian12) root_of debian12 bookworm http://deb.debian.org/debian ;;
      debian13) root_of debian13 trixie http://deb.debian.org/debian ;;
      # Ubuntu keeps python3-venv apart from main. Debian does not have its keys, so what is fetched here is not checked.
      ubuntu22.04) root_of ubuntu22.04 jammy http://archive.ubuntu.com/ubuntu --components=main,universe --no-check-gpg ;;
      rhel8-like)
        if [ ! -e "$work/roots/$name/made" ]; then
          mkdir -p "$work/roots"
          scripts/wheels/old_root.sh "$work/roots/$name"
          touch "$work/roots/$name/made"
        fi
        ;;
      *) fail "expected SYSTEMS of: debian12 debian13 ubuntu22.04 rhel8-like, got: $name" ;;
    esac
    system "$name"
  done
}

# What pip would install here for CPython 3.11 is installed for another platform, less torch's libraries: pip asks markers about this
# machine only. Packages that the index has as sources only are Python alone.
packages_for() { # NAME, FOLDER, WHEEL, TORCH, "--platform PLATFORM ...", REQUIREMENT ...
  local python list=$work/$1.txt
  python=$(environment_python)
  "$python" -m pip install --quiet --disable-pip-version-check --dry-run --ignore-installed --report "$work/$1.json" \
    "fastnnunet-loader[demo,remote] @ file://$ROOT" "torch==$4" "${tests_need[@]}" "${@:6}" -c scripts/constraints.txt
  "$python" scripts/gpu/names.py "$work/$1.json" >"$list"
  "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/pure" \
    $(grep -iE '^(nnunetv2|batchgenerators|batchgeneratorsv2|acvl|dynamic)' "$list")
  mkdir -p "$2"
  "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --no-compile --target "$2" \
    --only-binary=:all: --python-version 3.11 --implementation cp $5 --find-links "$work/pure" "$3" "torch==$4" -r "$list"
}

# What nnU-Net plans and preprocesses is Python's and SciPy's work, which takes hours under qemu, and under Wine starts a dozen processes
# for each data set. The same data sets serve every platform.
data_sets_in() { # FOLDER
  PYTHONPATH=tests "$(environment_python)" -c '
import pathlib, sys, datasets
folder = pathlib.Path(sys.argv[1])
for variant in datasets.VARIANTS:
    datasets.prepared(variant, folder / "cache", folder / "results")' "$1"
}

# Debian's Python for arm64 and packages for it, unpacked and run by qemu: nothing of them is executed otherwise.
aarch64() {
  command -v debootstrap >/dev/null && command -v qemu-aarch64-static >/dev/null || fail "expected debootstrap and qemu-aarch64-static: apt-get install debootstrap qemu-user-static"
  local root=$work/roots/aarch64 site=$work/roots/aarch64/site package
  if [ ! -e "$root/made" ]; then
    say "root file system: aarch64"
    umount --lazy "$root/proc" 2>/dev/null || true
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,libgomp1,binutils bookworm "$root" http://deb.debian.org/debian >"$root.log" 2>&1 ||
      fail "expected debootstrap to fetch Debian for arm64, see $root.log"
    for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
    touch "$root/made"
  fi
  say "tests of the core under qemu"
  local failed=()
  # qemu has threads of its own, and keeps no limits of memory and threads.
  qemu-aarch64-static -L "$root" "$(scripts/wheels/core_tests.sh linux-aarch64)" \
    '~"parallel_for: where there are no more threads*"~"arena: it has the threads that were asked for*"~"b2nd: where there is no memory to*"' ||
    failed+=(core)
  say "packages for aarch64"
  local platforms="--platform manylinux2014_aarch64" glibc wheel
  for glibc in 2_28 2_27 2_26 2_24 2_17; do platforms+=" --platform manylinux_${glibc}_aarch64"; done
  wheel=$(wheel_of cp311 aarch64)
  if [ ! -e "$site/made" ]; then
    rm -rf "$site" "$work/pure"
    mkdir -p "$work/pure"
    # torch 2.10 is the last release whose wheel for this machine has no CUDA.
    packages_for aarch64 "$site" "$wheel" 2.10.0 "$platforms" "pytest-xdist>=3.5"
    touch "$site/made"
  fi
  rm -rf "$site"/fastnnunet_loader*
  "$(environment_python)" -m zipfile -e "$wheel" "$site"
  say "tests under qemu"
  local home=/project
  mkdir -p "$root$home" "$root/usr/local/lib/python3.11/dist-packages"
  # After the standard library, of which one of the packages brings an old part.
  echo /site >"$root/usr/local/lib/python3.11/dist-packages/site.pth"
  # Unpacked and not configured, it has no users.
  [ -s "$root/etc/passwd" ] || echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  cp -r tests pyproject.toml "$root$home/"
  data_sets_in "$root$home"
  # qemu does not keep a program's limit of memory. The others give a program or a statistic less time than it takes there.
  local not_under_qemu=() left_out
  for left_out in test_pickles.py::test_lack_of_memory_is_not_the_files_fault test_from_folder.py::test_nnunet_is_imported_nowhere \
    test_shared_batches.py test_statistics.py::test_a_reporter_writes_now_and_then_and_ends \
    test_blocks_by_ranges.py::test_two_processes_request_what_one_does_and_a_killed_one_leaves_nothing_wrong; do
    not_under_qemu+=(--deselect "tests/loader/$left_out")
  done
  # Programs that the tests start are run by qemu as well: Debian's entry for the kernel, where none is in effect.
  local formats=/proc/sys/fs/binfmt_misc
  [ -e $formats/register ] || mount -t binfmt_misc none $formats
  [ -e $formats/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf >$formats/register
  mount -t proc proc "$root/proc"
  # This machine's certificates are not there.
  env -u SSL_CERT_FILE -u REQUESTS_CA_BUNDLE -u AWS_CA_BUNDLE HOME=/tmp OMP_NUM_THREADS=2 PYTHONPATH= \
    FASTNNUNET_TEST_CACHE=$home/cache chroot "$root" /usr/bin/python3.11 -c '
import os, sys
os.chdir("/project")
import pytest
sys.exit(pytest.main(["-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider", *sys.argv[1:]]))' "${tests[@]}" "${not_under_qemu[@]}" || failed+=(tests)
  umount "$root/proc"
  [ ${#failed[@]} -eq 0 ] || fail "failed under qemu: ${failed[*]}"
}

# CPython for Windows is that of the headers (scripts/wheels.sh). Newer NumPy and SciPy call functions that Wine 8 lacks.
windows() {
  local wine wheel site=$work/windows/site python=$ROOT/build/wheels/windows/cp311/python.exe
  wine=$(command -v wine64 || command -v wine || ls /usr/lib/wine/wine64 2>/dev/null) || fail "expected wine64: apt-get install wine64"
  [ -e "$python" ] || fail "expected CPython for Windows: run scripts/wheels.sh windows-x86_64"
  say "packages for Windows"
  wheel=$(ls "$ROOT"/dist/fastnnunet_loader-"$version"-cp311-cp311-win_amd64.whl)
  if [ ! -e "$site/made" ]; then
    rm -rf "$site" "$work/pure"
    mkdir -p "$work/windows" "$work/pure"
    packages_for windows "$site" "$wheel" 2.10.0 "--platform win_amd64" "numpy==1.26.4" "scipy==1.11.4" colorama tzdata
    touch "$site/made"
  fi
  rm -rf "$site"/fastnnunet_loader*
  "$(environment_python)" -m zipfile -e "$wheel" "$site"
  # After the standard library, of which one of the packages brings an old part, and in the place of what that CPython comes with.
  rm -rf "${python%/*}/Lib/site-packages"
  mkdir "${python%/*}/Lib/site-packages"
  echo "Z:$site" >"${python%/*}/Lib/site-packages/site.pth"
  # What the tests write is for Windows only. A pipe, for Wine cannot hand a file over as standard output.
  data_sets_in "$work/windows"
  under_wine() {
    WINEDEBUG=-all WINEPREFIX=$work/windows/prefix WINEDLLOVERRIDES="mscoree,mshtml=" KMP_AFFINITY=disabled \
      PYTHONUTF8=1 FASTNNUNET_TEST_CACHE="Z:$work/windows/cache" "$wine" "$python" "$@" 2>&1 | cat
  }
  local failed=()
  say "import, digests and tests under Wine"
  under_wine -c "import fastnnunet_loader as fl; print(fl.__version__, fl.available_cores(), fl._core.simd_target())" || failed+=(import)
  # Left out: what asks a POSIX system for a program's memory or limits it, and what replaces a file that is open, which Windows does
  # not do; a file of Linux that is always full; ranks of torch.distributed, which do not start there, and a store that torch lacks for
  # Windows; S3, whose server needs a library (cryptography) that Wine 8 cannot load.
  local left_out=() test
  for test in test_pickles.py::test_lack_of_memory_is_not_the_files_fault test_pickles.py::test_no_number_in_the_file_takes_memory_or_time \
    test_loader.py::test_a_file_that_was_replaced_while_another_loader_had_it_open_is_read_anew \
    test_statistics.py::test_a_reader_never_sees_half_a_file 'test_statistics.py::test_statistics_never_end_a_training[full_disk]' \
    test_blocks_by_ranges.py::test_a_full_disk_is_waited_for test_slow_storage.py::test_a_full_disk_goes_on_from_the_source \
    test_shared_batches.py::test_the_global_batch_is_the_same_bytes_for_any_number_of_ranks \
    test_shared_batches.py::test_a_case_that_only_one_rank_finds_bad_changes_nothing \
    test_shared_batches.py::test_a_state_goes_on_with_another_number_of_ranks \
    test_shared_batches.py::test_ranks_without_a_seed_draw_one_for_all \
    test_shared_batches.py::test_generators_of_ranks_draw_one_seed_or_it_is_one_sentence test_s3.py; do
    left_out+=("--deselect=tests/loader/$test")
  done
  # A test that does not end says where it waits.
  under_wine -m pytest -q -p no:cacheprovider -o faulthandler_timeout=300 tests/digests tests/package/test_operating_system.py \
    "${tests[@]:1}" "${left_out[@]}" || failed+=(tests)
  say "a training of two short epochs under Wine"
  rm -rf "$work/windows/demo"
  mkdir "$work/windows/demo"
  (cd "$work/windows/demo" && under_wine -m fastnnunet_loader demo --epochs 2 --seconds 1) || failed+=(training)
  [ ${#failed[@]} -eq 0 ] || fail "failed under Wine: ${failed[*]}"
}

for step in "${steps[@]}"; do
  case $step in
    neighbours | pythons | alone | free_threaded | torches | sdist | systems | aarch64 | windows) ;;
    *) fail "expected steps of: neighbours pythons alone free_threaded torches sdist systems aarch64 windows, got: $step" ;;
  esac
done
for step in "${steps[@]}"; do
  say "== $step"
  "$step"
done
say "all passed: ${steps[*]}"
