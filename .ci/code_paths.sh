#!/usr/bin/env bash
# code_paths.sh BIN_DIRECTORY: the numeric tests on every code path that this processor has. LibTorch and MKL choose
# instructions and block sizes by processor and number of threads, and with them the order of every sum; a test that
# holds in one order alone fails on another machine, and here.
set -euo pipefail
tests=$(cd "${1:?which directory holds libslice_tests?}" && pwd)/libslice_tests

# Files whose results depend on floating-point kernels, by the tag that Catch2 gives a case: its file's name.
files=(
  ops
  adapter attention decoder linear mlp norm rotary shortcut
  golden stock
  basis channel_ranking channels covariance fuse gradient pca refit rotate signal
  batch generator perplexity tensor_parallel
  families refit_model search slice_model
)
# Their cases that take seconds and look at shapes, or at what a shorter one sees too.
skipped=(
  "every form of shortcut and every family*"
  "a trial leaves the model as it was*"
  "a head that keeps its tie is stored once*"
  "64 greedy tokens equal those of Transformers*"
  "tensor parallel of a sliced model*"
)
numeric=
for file in "${files[@]}"; do
  if [ "$("$tests" -\# "[#${file}_test]" --list-tests --verbosity quiet | wc -l)" = 0 ]; then
    echo "code_paths.sh: no test case of ${file}_test.cpp" >&2
    exit 1
  fi
  numeric+="[#${file}_test]~[cuda]~[slow]$(printf '~"%s"' "${skipped[@]}"),"
done

# LibTorch's own kernels follow ATEN_CPU_CAPABILITY; MKL's products MKL_ENABLE_INSTRUCTIONS (Intel's processors alone
# obey it) or MKL_CBWR (all do).
paths=(
  "ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2"
  "ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2"
  ""
  "ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE"
)
unset ATEN_CPU_CAPABILITY MKL_ENABLE_INSTRUCTIONS MKL_CBWR
export GOMP_SPINCOUNT=2000 # ranks of a test are threads: with two of their own each, that spin, they wait for minutes

cases=$("$tests" -\# "$numeric" --list-tests --verbosity quiet | wc -l)
echo "$cases numeric test cases of ${#files[@]} files, on $((2 * ${#paths[@]})) code paths:"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
results=()
for path in "${paths[@]}"; do
  for threads in 1 2; do
    # shellcheck disable=SC2086  # a path is a list of assignments
    run() { env $path OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads "$tests" "$@"; }
    taken=$(run '[.code_path]' | grep ' threads: ')
    results+=("${taken#*: }")
    began=$SECONDS outcome=passed
    run -\# "$numeric" >"$log" 2>&1 || outcome=FAILED
    printf '%3d s  %s  %s, %d threads: %s\n' $((SECONDS - began)) "$outcome" "${path:-(nothing set)}" \
      $threads "$taken"
    if [ $outcome = FAILED ]; then
      failed=$((failed + 1))
      sed -n '/^-----/,$p' "$log" # without the list of files
    fi
  done
done
different=$(printf '%s\n' "${results[@]}" | sort -u | wc -l)
echo "$((${#results[@]} - failed)) of ${#results[@]} code paths passed, in $SECONDS s; the same inputs gave $different" \
  "different results in bits."
[ $failed = 0 ] && [ "$different" -gt 1 ]
