#!/usr/bin/env bash
# check_wheel.sh: installs dist/'s wheel into a clean Python environment that has torch and nothing else, and uses it as
# a stranger would: programs, examples/find_package, and, where this machine has all that torch loads, the module. Then
# the .tar.gz and the .deb: the same tree, beside a LibTorch.
set -euo pipefail
cd "$(dirname "$0")/.."
deps=$(cd "${LIBSLICE_DEPS:-.deps}" && pwd)
torch=$(readlink -f "$deps/libtorch")
data=$PWD/tests/data
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { printf 'check_wheel: %s\n' "$*" >&2; exit 1; }
only() { [ $# = 1 ] && [ -f "$1" ] || fail "want one file, got $*"; echo "$1"; }

wheel=$(only dist/libslice-*.whl)
python3 -m venv "$work/venv"
python=$work/venv/bin/python
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n' "$(dirname "$torch")" "$deps/package" >"$site/torch.pth"
"$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps "$wheel"
printf '%s: %d bytes, installed %s\n' "$wheel" "$(stat -c %s "$wheel")" "$(du -sh "$site/libslice" | cut -f 1)"
unzip -p "$wheel" '*/METADATA' | grep '^Requires-Dist'

export OMP_NUM_THREADS=1  # tiny models: threads would wait for each other
cd "$work"
seq 1 3000 | sed 's/$/ apples fell from the tree in the garden./' >text.txt
PATH=$work/venv/bin:$PATH
slice_model "$data/trained_phi" --calibration text.txt --samples 16 --remove-blocks 0.2 --round 4 --out sliced --quiet
evaluate sliced --perplexity text.txt --windows 4 --quiet
generate sliced --prompt "The house" --max-tokens 8 --quiet
for program in inspect serve slice_model tokenize write_gguf write_imatrix write_torchscript; do "$program" --version; done

prefix=$("$python" -m libslice --cmake-prefix)
cmake -S "$OLDPWD/examples/find_package" -B example -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build example
example/find_package_example "$data/tiny_llama_gqa"
example/embed "$data/trained_phi" "The house"

if "$python" -c 'import torch' 2>import.txt; then
  "$python" -B "$OLDPWD/tests/python/module_test.py" "$data"
  "$python" -B "$OLDPWD/tests/python/transformers_test.py" || [ $? = 77 ]
else
  printf 'check_wheel: SKIPPED the module: torch cannot be imported here: %s\n' "$(tail -n 1 import.txt)"
fi

cd "$OLDPWD"
mkdir "$work/tar" "$work/deb"
tar -xzf "$(only dist/libslice-*.tar.gz)" -C "$work/tar"
dpkg-deb -x "$(only dist/libslice-*.deb)" "$work/deb"
for root in "$work"/tar/libslice-* "$work/deb/opt/libslice"; do
  "$root/bin/tokenize" --version >/dev/null 2>&1 && fail "$root: found a LibTorch that is not beside it"
  ln -s "$torch" "$(dirname "$root")/torch"
  "$root/bin/tokenize" "$data/trained_phi" "The house"
done
diff -r "$work"/tar/libslice-* "$work/deb/opt/libslice" || fail "the .tar.gz and the .deb differ"
