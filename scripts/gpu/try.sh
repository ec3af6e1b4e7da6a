#!/usr/bin/env bash
# On the machine with the GPU:  try.sh PART [PART ...].  See scripts/gpu.sh, which makes the parts.
set -euo pipefail
kit=${KIT:-$HOME/fastnnunet_kit} out=${OUT:-}
begin=$SECONDS limit=${LIMIT:-480}
mkdir -p "$kit/files" "$kit/have" "${out:=$kit/out}"

wanted=
for part in "$@"; do
  name=$(basename "$part" .tar)
  wanted=${name##*-}
  tar -xf "$part" -C "$kit/files"
  touch "$kit/have/$name"
done
have=$(find "$kit/have" -type f | wc -l)
wanted=${wanted:-$(find "$kit/have" -type f -printf '%f\n' | sed 's/.*-//' | head -n 1)}
if [ "$have" -lt "$((10#${wanted:-1}))" ]; then
  echo "$have of $((10#$wanted)) parts are here"
  exit
fi

cd "$kit"
if [ ! -e installed ]; then
  python3.12 -m venv --system-site-packages environment 2>/dev/null || python3 -m venv --system-site-packages environment
  environment/bin/python -m pip install --quiet --no-index --no-deps files/*.whl
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
step checks python -m tests.gpu
for cores in 2 4 1; do
  step "training-$cores" env nnUNet_compile=f taskset -c "0-$((cores - 1))" python -m benchmarks.training --device "$device" --threads "$cores" \
    --iterations "${ITERATIONS:-60}" --repetitions 1 --data "$kit/benchmark-data" --json "$out/training-$cores.json"
done
step prediction python -m benchmarks.prediction predict export --classes 5 --cases 4 --data "$kit/benchmark-data" --json "$out/prediction.json"
command -v nvidia-smi >/dev/null && nvidia-smi >"$out/nvidia-smi.txt" || true
echo "figures: $out"
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" && exit 1; }
