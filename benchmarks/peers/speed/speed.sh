#!/usr/bin/env bash
# speed.sh BIN PEERS.csv: decoding and prompts of LLaMA-2 7B's shape in float16, ours and other programs' on one card.
#
#   BIN: our programs, bench_decode and bench_prefill. OURS: file of their rows; where it is there, they do not run again.
#   LLAMA_CPP: build_llama_cpp.sh's BUILD/bin, with MODEL, the file of random_gguf.py. GPT_FAST: a checkout.
#   SLICE_COMMIT names the commit in the rows. What is not given is left out; what fails is named, and the rest goes on.
set -uo pipefail
[ $# -eq 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bin=$1 csv=$2 ours=${OURS:-$work/ours.csv}
failed=0

# run PROGRAM ARGUMENT…: of at most five minutes
run() {
  printf -- '--- %s (%d s)\n' "$*" $SECONDS
  timeout 300 "$@" || { echo "speed: failed: $*" >&2; failed=1; }
}

if [ ! -e "$ours" ]; then
  for program in bench_decode bench_prefill; do run "$bin/$program" "$ours" llama2-7b:dense; done
fi
if [ -n "${LLAMA_CPP:-}" ]; then run python3 "$here/llama_cpp.py" "$LLAMA_CPP" "$MODEL" --ours "$ours" --csv "$csv"; fi
if [ -n "${GPT_FAST:-}" ]; then run python3 "$here/gpt_fast.py" "$GPT_FAST" --ours "$ours" --csv "$csv"; fi
exit $failed
