#!/usr/bin/env bash
# Perplexities of small trained models, dense and sliced by 10, 20 and 30 %, as rows of docs/results/quality.csv.
#
#   benchmarks/small_models.sh BIN DATA        BIN: folder of the programs; DATA: folder of the shared data
#
# The LLaMAs of DATA/models know one kind of text only, so each is calibrated and measured on texts that it wrote itself
# at temperature 1, from different seeds. The models of tests/data are calibrated on WikiText-2's training text and
# measured on its test text.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1 data=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
commit=$(git rev-parse --short HEAD) date=$(date +%F)
processor="none: $(nproc --all) vCPU $(lscpu | sed -n 's/^Model name: *//p')"

field() { python3 -c 'import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1].split("."): value = value[int(key) if key.isdigit() else key]
print(value)' "$1"; }

# sample MODEL FILE FIRST_SEED COUNT: texts of the model, a blank line between them
sample() {
  local seed
  for ((seed = $3; seed < $3 + $4; seed++)); do
    "$bin/generate" "$1" --prompt "Once upon a time" --max-tokens 220 --temperature 1 --seed "$seed" --quiet
    echo
  done >"$2"
}

# row MODEL FORM PERPLEXITY NOTE [DENSE]
row() {
  local dense=,,
  if [ $# -gt 4 ]; then dense=dense,$(printf %.4f "$5"),$(python3 -c "print(f'{$5 / $3:.4f}')"); fi
  echo "small_models,$1,$2,float32,1,$context,perplexity,$(printf %.4f "$3"),,,,$dense,\"$4\",$processor,,,2.11.0,$commit,$date"
}

# sliced MODEL CALIBRATION TEST FLAGS...: "k blocks_before blocks_after perplexity"
sliced() {
  local model=$1 calibration=$2 test=$3 report
  shift 3
  rm -rf "$work/sliced"
  report=$("$bin/slice_model" "$model" --calibration "$calibration" --context $context --samples 512 \
    --dtype fp32 --out "$work/sliced" --json --quiet "$@")
  echo "$(field plan.k.0 <<<"$report") $(field parameters.blocks_before <<<"$report")" \
    "$(field parameters.blocks_after <<<"$report")" \
    "$("$bin/evaluate" "$work/sliced" --perplexity "$test" --context $context --json --quiet | field perplexity)"
}

# measure NAME MODEL CALIBRATION TEST NOTE: the paper's method at 10, 20 and 30 %, and refit with as many block weights
# removed, where the paper's removes any
measure() {
  local name=$1 model=$2 slice dense note k before after perplexity removed
  dense=$("$bin/evaluate" "$model" --perplexity "$4" --context $context --json --quiet)
  note="$5; $(field tokens_scored <<<"$dense") tokens"
  dense=$(field perplexity <<<"$dense")
  row "$name" dense "$dense" "$note"
  for slice in 0.1 0.2 0.3; do
    read -r k before after perplexity <<<"$(sliced "$model" "$3" "$4" --method slicegpt --slice $slice)"
    row "$name" "slicegpt-k$k" "$perplexity" "$note; $after of $before block weights" "$dense"
    if [ "$after" -ge "$before" ]; then continue; fi
    removed=$(python3 -c "print(1 - $after / $before)")
    read -r k before after perplexity <<<"$(sliced "$model" "$3" "$4" --remove-blocks "$removed" --layout free)"
    row "$name" "refit-k$k" "$perplexity" "$note; $after of $before block weights" "$dense"
  done
}

context=256
for model in models/stories260K/stories260K.bin models/babyllama-tok105/tok105_model5000.bin; do
  sample "$data/$model" "$work/calibration.txt" 1000 60
  sample "$data/$model" "$work/test.txt" 5000 30
  measure "$(basename "${model%.bin}")" "$data/$model" "$work/calibration.txt" "$work/test.txt" "its own texts at temperature 1"
done
for split in train test; do xz -dkc "$data/wikitext-2/wiki.$split.tokens.xz" >"$work/$split.txt"; done
for model in trained_opt trained_phi; do
  measure $model tests/data/$model "$work/train.txt" "$work/test.txt" "WikiText-2 test; 512 train windows"
done
