#!/usr/bin/env bash
# Whether decoding on a GPU (captured graphs, our kernels) writes what the plain LibTorch modules write on the CPU, in
# float32: 256 greedy tokens of a trained model, dense and sliced by a quarter in every form. Ends with 1 if a text differs.
#
#   benchmarks/greedy_tokens.sh BIN MODEL TEXT      BIN: folder of the programs; TEXT: to calibrate on
set -euo pipefail
bin=$1 model=$2 text=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prompt="The history of the printing press begins"
status=0

# compare NAME MODEL
compare() {
  local device
  for device in cuda cpu; do
    "$bin/generate" "$2" --prompt "$prompt" --max-tokens 256 --dtype fp32 --device $device --quiet >"$work/$device"
  done
  if cmp -s "$work/cuda" "$work/cpu"; then
    echo "$1: the same text, $(wc -w <"$work/cpu") words"
  else
    echo "$1: differs from byte $(cmp "$work/cuda" "$work/cpu" | sed 's/.*byte \([0-9]*\).*/\1/') of $(wc -c <"$work/cpu")"
    status=1
  fi
}

# sliced METHOD SHORTCUT
sliced() {
  rm -rf "$work/sliced"
  "$bin/slice_model" "$model" --calibration "$text" --context 256 --samples 32 --slice 0.25 --method "$1" \
    --shortcut "$2" --dtype fp32 --out "$work/sliced" --quiet >/dev/null
  compare "$1, shortcut $2" "$work/sliced"
}

compare dense "$model"
sliced slicegpt dense
for form in none diagonal lowrank:32; do sliced refit $form; done
exit $status
