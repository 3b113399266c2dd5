#!/usr/bin/env bash
# The cases of `make bench` on the GPU at hand; rows are appended to the CSV files of a folder. About ten minutes on an H100.
#
#   benchmarks/bench.sh BIN RESULTS [GROUP …]     BIN: folder of the programs; RESULTS: docs/results
#   GROUP: kernels shortcut decode prefill slicing memory_caps fit peers; all of them without one. peers: where LLAMA_CPP or
#   GPT_FAST names another program (benchmarks/peers/README.md)
#
# A program that was not built is passed over; one that fails (a card too small for a shape) is named at the end, and the
# others run all the same. SLICE_COMMIT names the commit where there is no git.
set -uo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
bin=$(realpath -m "$1") results=$(realpath -m "$2")
shift 2
groups=${*:-kernels shortcut decode prefill slicing memory_caps fit peers}
cd "$(dirname "$0")/.." || exit 1
if [ -z "${SLICE_COMMIT:-}" ]; then # once: the rows themselves make the tree dirty
  SLICE_COMMIT=$(git rev-parse --short HEAD)$(git diff --quiet HEAD -- ':!docs' || echo +)
fi
export SLICE_COMMIT
mkdir -p "$results"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()

# run PROGRAM ARGUMENT...: one case of at most ten minutes
run() {
  local program=$1
  shift
  if [ ! -x "$bin/$program" ]; then
    printf -- '--- %s is not built\n' "$program"
    return
  fi
  printf -- '--- %s %s (%d s)\n' "$program" "$*" $SECONDS
  timeout 600 "$bin/$program" "$@" || failed+=("$program $*")
}

for group in $groups; do
  rows=$results/$group.csv
  case $group in
    kernels | shortcut | prefill) run "bench_$group" "$rows" ;;
    decode) run bench_decode "$rows" smollm2-135m llama2-7b llama2-13b:dense llama2-13b:slice25-none ;;
    memory_caps) run bench_memory_caps "$rows" llama2-13b llama2-70b ;;
    slicing)
      # One quantity at a time: windows, layers, hidden size.
      for windows in 32 128 512 1024; do run bench_slicing llama2-7b 2 $windows "$rows"; done
      for layers in 4 8; do run bench_slicing llama2-7b $layers 128 "$rows"; done
      for shape in phi-2 llama2-13b llama2-70b; do run bench_slicing $shape 2 128 "$rows"; done
      ;;
    fit)
      cat >"$work/config.json" <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 4096,
 "intermediate_size": 11008, "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32,
 "num_key_value_heads": 32, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "torch_dtype": "float16",
 "vocab_size": 32000, "bos_token_id": 1, "eos_token_id": 2}
JSON
      run bench_fit "$work/config.json" "$rows" --name llama2-7b --fit 12
      ;;
    peers)
      if [ -n "${LLAMA_CPP:-}${GPT_FAST:-}" ]; then
        benchmarks/peers/speed/speed.sh "$bin" "$rows" || failed+=("speed.sh")
      fi
      ;;
    *)
      printf 'bench: no group %s\n' "$group" >&2
      exit 2
      ;;
  esac
done
printf -- '--- %d s\n' $SECONDS
for case in "${failed[@]}"; do printf 'bench: failed: %s\n' "$case" >&2; done
[ ${#failed[@]} = 0 ]
