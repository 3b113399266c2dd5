#!/usr/bin/env bash
# run.sh MINUTES [TARGET...]: fuzzes every target, or these, that long each (30s: so many seconds), as many at a time as
# there are processors (or $JOBS), after the large inputs were read once (unless LARGE=no). From the folder of the
# build, or $FUZZ_DIR:
#
#   bin/*_fuzz, seeds/, large/      what `cmake --build --preset fuzz` made
#   corpus/TARGET/                  inputs that reach something new; the next run begins with them
#   findings/TARGET/                inputs that crash, that take longer than ten seconds ($LIMIT) or more than 2 GiB
#   logs/TARGET.log
#
# Fails when there is a finding. One input again: bin/TARGET_fuzz FILE.
set -euo pipefail
length=${1:?how many minutes a target?}
case $length in *s) length=${length%s} ;; *) length=$((length * 60)) ;; esac
shift
cd "${FUZZ_DIR:-$(dirname "$0")/../../build/fuzz}"
targets=("$@")
if [ $# = 0 ]; then
  for program in bin/*_fuzz; do targets+=("$(basename "$program" _fuzz)"); done
fi
mkdir -p corpus findings logs
TMPDIR=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo /tmp)")
export TMPDIR # inputs are written there, some as files
trap 'rm -rf "$TMPDIR"' EXIT
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=1

fuzz() { # fuzz TARGET SECONDS
  local target=$1 seconds=$2 input found words=() began=$SECONDS
  local limits=("-timeout=${LIMIT:-10}" -rss_limit_mb=2048 "-artifact_prefix=findings/$target/")
  mkdir -p "corpus/$target" "findings/$target" "seeds/$target"
  for input in "large/$target"/*; do
    [ -e "$input" ] && [ "${LARGE:-yes}" != no ] || continue
    "bin/${target}_fuzz" "${limits[@]}" "$input" || cp "$input" "findings/$target/large-${input##*/}"
  done
  if [ -e "seeds/$target.dict" ]; then words=("-dict=seeds/$target.dict"); fi
  began=$SECONDS
  # A finding ends libFuzzer, not the search.
  while [ $((SECONDS - began)) -lt "$seconds" ]; do
    "bin/${target}_fuzz" "${limits[@]}" "${words[@]}" "-max_total_time=$((seconds - SECONDS + began))" \
      -max_len=262144 -report_slow_units=5 -print_final_stats=1 "corpus/$target" "seeds/$target" || true
    found=$(find "findings/$target" -type f | wc -l)
    if [ "$found" -ge 20 ]; then break; fi
  done
}
export -f fuzz
printf '%s\n' "${targets[@]}" | xargs -P "${JOBS:-$(nproc)}" -I {} bash -c 'fuzz {} '"$length"' >logs/{}.log 2>&1'

for target in "${targets[@]}"; do
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "logs/$target.log" | awk '{ n += $1 } END { print n + 0 }')
  echo "$target: $runs inputs, $(find "findings/$target" -type f ! -name 'slow-unit-*' | wc -l) findings," \
    "slowest $(sed -n 's/.*Slowest unit: \([0-9]*\) s.*/\1/p; s/^stat::slowest_unit_time_sec: *//p' "logs/$target.log" |
      sort -n | tail -1) s"
done
if find findings -type f ! -name 'slow-unit-*' | grep .; then exit 1; fi
