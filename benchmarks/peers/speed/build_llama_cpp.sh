#!/usr/bin/env bash
# build_llama_cpp.sh SOURCE BUILD [TARGET …]: llama.cpp's programs for the card at hand, in BUILD/bin.
#
# SOURCE: a checkout, or vendor/llama.cpp of llama_cpp_python's source package, which PyPI has. Nothing is fetched: no
# web interface, no downloads. JOBS: at a time (as many as there are processors); ARCHITECTURE: 90-real, say.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
source=$1 build=$2
shift 2
[ $# -gt 0 ] || set -- llama-bench llama-batched-bench
capability=${ARCHITECTURE:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)-real}
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_ARCHITECTURES="$capability" \
  -DGGML_CUDA=ON -DGGML_CUDA_NCCL=OFF -DGGML_CUDA_FA_QUANTS=f16-f16 -DGGML_CCACHE=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
  -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF
cmake --build "$build" --parallel "${JOBS:-$(nproc)}" --target "$@"
