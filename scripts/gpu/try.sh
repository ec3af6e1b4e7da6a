#!/usr/bin/env bash
# On the machine with the GPU:  try.sh PART [PART ...].  See scripts/gpu.sh, which makes the parts.
set -euo pipefail
kits=${KIT:-$HOME/fastnnunet_kit} begin=$SECONDS limit=${LIMIT:-480}
mkdir -p "$kits"

# part-KIT-01-of-05.tar. Parts of two kits do not fit together.
id=
for part in "$@"; do
  of=$(basename "$part" .tar) of=${of#part-} of=${of%%-*}
  [ "${id:=$of}" = "$of" ] || { echo "expected parts of one kit, got parts of $id and of $of" >&2 && exit 1; }
done
[ -n "$id" ] || id=$(ls -t "$kits" | head -n 1)
[ -n "$id" ] || { echo "expected parts: try.sh PART [PART ...]" >&2 && exit 1; }
kit=$kits/$id out=${OUT:-$kits/$id/out}
mkdir -p "$kit/files" "$kit/have" "$out"
out=$(cd "$out" && pwd)

for part in "$@"; do
  tar -xf "$part" -C "$kit/files"
  touch "$kit/have/$(basename "$part" .tar)"
done
touch "$kit"
have=("$kit"/have/*)
wanted=${have[0]##*-of-}
if [ "${#have[@]}" -lt "$((10#$wanted))" ]; then
  echo "${#have[@]} of $((10#$wanted)) parts are here"
  exit
fi

cd "$kit"
if [ ! -e installed ]; then
  # An environment of its own that sees torch's. If that is a virtual environment, --system-site-packages would show another one.
  python=
  for each in python3 python3.12 python; do
    if "$each" -c 'import sys, torch; assert sys.version_info[:2] == (3, 12)' 2>/dev/null; then python=$each && break; fi
  done
  [ -n "$python" ] || { echo "expected CPython 3.12 with torch on PATH, found none" >&2 && exit 1; }
  rm -rf environment project
  "$python" -m venv environment
  "$python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])' \
    >"$(environment/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch_of_this_machine.pth"
  # A torchvision that is there fits the torch that is there.
  if "$python" -c 'import torchvision' 2>/dev/null; then rm -f files/torchvision-*.whl; fi
  # What the machine has already is installed, too: nnU-Net imports distutils, which setuptools gives back by a .pth file, and Python
  # reads that in this folder only.
  environment/bin/python -m pip install --quiet --no-index --no-deps --ignore-installed files/*.whl
  mkdir -p project
  tar -xzf files/project.tar.gz -C project
  touch installed
fi
source environment/bin/activate
cd project
python -c 'import torch; print("torch", torch.__version__, "on", torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'
export FASTNNUNET_TEST_CACHE=$kit/cache PYTHONDONTWRITEBYTECODE=1
failed=()

# Each with what is left of the time; what does not fit is named, and runs when the script is started again.
step() { # NAME, COMMAND ...
  local left=$((limit - SECONDS + begin))
  if [ -e "$out/$1.done" ]; then return; fi
  if [ $left -lt 30 ]; then
    echo "== $1: no time left, start again"
    return
  fi
  echo "== $1"
  if timeout "$left" "${@:2}" >"$out/$1.txt" 2>&1; then touch "$out/$1.done"; else failed+=("$1 ($?)"); fi
  tail -n 25 "$out/$1.txt"
}

device=${DEVICE:-cuda}
if command -v nvidia-smi >/dev/null; then
  nvidia-smi >"$out/nvidia-smi.txt" || true
  nvidia-smi --query-gpu=timestamp,utilization.gpu,memory.used --format=csv --loop=1 >>"$out/use.csv" 2>&1 &
  trap "kill $!" EXIT
fi
if [ "$device" = cuda ]; then step checks python -m tests.gpu; fi
for cores in 2 4 1; do
  step "training-$cores" env nnUNet_compile=f taskset -c "0-$((cores - 1))" python -m benchmarks.training --device "$device" --threads "$cores" \
    --iterations "${ITERATIONS:-60}" --warm-up "${WARM_UP:-10}" --repetitions 1 --data "$kit/benchmark-data" --json "$out/training-$cores.json"
done
step prediction python -m benchmarks.prediction predict export --device "$device" --classes 5 --cases 4 --data "$kit/benchmark-data" --json "$out/prediction.json"
echo "figures: $out"
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" && exit 1; }
