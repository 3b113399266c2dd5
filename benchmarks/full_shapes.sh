#!/usr/bin/env bash
# A model of a published shape and random weights is written, loaded, sliced by 25 %, saved, reloaded, measured and
# generated from, on a GPU: rows of docs/results/quality.csv on stdout, everything else on stderr.
#
#   benchmarks/full_shapes.sh BIN CONFIG NAME [LAYERS]        BIN: folder of the programs; CONFIG: published config.json
#
# The text of this checkout calibrates, byte by byte. Needs room for the model, dense and sliced, in $TMPDIR, and its
# dense half in memory. SLICE_COMMIT names the commit where there is no git.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1 config=$2 name=$3 layers=${4:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() { printf '%s: %s (%d s)\n' "$name" "$*" $SECONDS >&2; }

cat README.md CONTRIBUTING.md docs/*.md libslice/*.h >"$work/text.txt"
step "writing"
"$bin/synthetic_checkpoint" "$config" --out "$work/dense" --dtype fp16 --device cuda ${layers:+--layers "$layers"} >&2
step "slicing"
"$bin/slice_model" "$work/dense" --calibration "$work/text.txt" --slice 0.25 --context 2048 --samples 16 --device cuda \
  --out "$work/sliced" --json >"$work/report.json"
for form in dense sliced; do
  step "$form, loaded: perplexity of random weights"
  "$bin/evaluate" "$work/$form" --perplexity "$work/text.txt" --windows 2 --device cuda --quiet >&2
done
step "generating from the sliced model"
text=$("$bin/generate" "$work/sliced" --prompt "SliceGPT" --max-tokens 16 --device cuda)
printf '%s\n' "$text" >&2
[ "${#text}" -gt 8 ]
"$bin/inspect" "$work/sliced" --json >"$work/inspect.json"
step "done"

gpu=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1)
python3 - "$work" "$name${layers:+-$layers-layers}" "$gpu" "${SLICE_COMMIT:-$(git rev-parse --short HEAD)}" <<'PY'
import csv, datetime, json, sys

work, model, gpu, commit = sys.argv[1:]
report = json.load(open(f"{work}/report.json"))
parameters, seconds, versions = report["parameters"], report["seconds"], report["versions"]
assert json.load(open(f"{work}/inspect.json"))["parameters"] == parameters["after"]
sliced, windows = f"slicegpt-k{report['plan']['k'][0]}", report["calibration"]["sequences"]
gpu, driver = gpu.split(", ")
cuda = ".".join(versions["cuda"].split(".")[:2])
rows = csv.writer(sys.stdout, lineterminator="\n")


def row(form, batch, length, metric, value, unit, kind, baseline=("", "", "")):
    rows.writerow(["full_shapes", model, form, "float16", batch, length, metric, value, unit, "", "", *baseline, kind,
                   gpu, driver, cuda, versions["libtorch"], commit, datetime.date.today()])


before, after = parameters["before"], parameters["after"]
row("dense", "", "", "parameters", before, "", "counted")
row(sliced, "", "", "parameters", after, "", "counted", ("dense", before, f"{before / after:.4f}"))
row(sliced, windows, 2048, "slicing_s", f"{seconds['calibrate'] + seconds['eigen'] + seconds['rewrite']:.2f}", "s",
    "measured: calibrate + eigen + rewrite")
row(sliced, windows, 2048, "program_s", f"{seconds['total']:.2f}", "s",
    "measured: the whole program, load and save included")
row(sliced, windows, 2048, "peak_device_gib", f"{report['peak_bytes']['device'] / 2**30:.2f}", "GiB", "measured")
PY
