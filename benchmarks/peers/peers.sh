#!/usr/bin/env bash
# peers.sh MODEL_DIR OUT TEXT...: every comparison model of a dense Hugging Face directory, OUT/NAME with a cost.json.
# WRITE_GGUF: our write_gguf; without it llama.cpp's types are left out. SAMPLES, CONTEXT: windows of each text, their
# tokens (128, 2048). DEVICE: of the methods that are our own.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 3 ] || { sed -n 2,4p "$0"; exit 2; }
model=$1 out=$2
shift 2
texts=("${@/#/--calibration=}")
windows=(--samples "${SAMPLES:-128}" --context "${CONTEXT:-2048}")
device=(${DEVICE:+--device "$DEVICE"})
mkdir -p "$out/logs"

# make NAME SCRIPT ARGUMENTS...: skipped where it was made; what fails is named and the rest goes on.
make() {
  local name=$1 script=$2
  shift 2
  [ -e "$out/$name/cost.json" ] && return
  python3 "$here/$script" "$@" >"$out/logs/$name.txt" 2>&1 && tail -n 1 "$out/logs/$name.txt" && return
  echo "$name: failed: $(tail -n 1 "$out/logs/$name.txt")"
}

make magnitude-24 magnitude_24.py "$model" "$out/magnitude-24" "${device[@]}"
for percent in 10 20 30; do
  make "svd-$percent" svd.py "$model" "$out/svd-$percent" --fraction "0.$percent" "${texts[@]}" "${windows[@]}" \
    "${device[@]}"
done
make sparsegpt-24 sparsegpt_24.py "$model" "$out/sparsegpt-24" "${texts[@]}" "${windows[@]}"
make gptq-w4a16 gptq_w4a16.py "$model" "$out/gptq-w4a16" "${texts[@]}" "${windows[@]}"
if [ -n "${WRITE_GGUF:-}" ]; then
  [ -e "$out/dense.gguf" ] || "$WRITE_GGUF" "$model" "$out/dense.gguf" --dtype fp32 --quiet
  for kind in q8_0 q4_k_m; do
    make "$kind" ggml_quantise.py "$out/dense.gguf" "$out/$kind" --type "$kind"
  done
fi
exit 0
