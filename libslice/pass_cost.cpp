#include "libslice/pass_cost.h"

#include <c10/core/ScalarType.h>

#include <algorithm>

#include "libslice/detail/layer_reader.h"

namespace slice {

PassCost expected_pass_cost(const Checkpoint& checkpoint, const ModelConfig& sliced, Method method,
                            int64_t tokens, int64_t context, const PassOptions& pass) {
  constexpr int64_t kDouble = 8, kPieces = int64_t{64} << 20;  // conversions on the way to a file
  constexpr int64_t kLibraries = int64_t{400} << 20, kGpuLibraries = int64_t{1200} << 20;
  constexpr int64_t kSiteMatrices = 7;  // covariance and its sum, vectors, the solver's two, bases
  constexpr int64_t kKeptHidden = int64_t{2} << 30;  // at most, detail/hidden_signal.h
  constexpr int64_t kMomentMatrices = 4;             // fitted, held out, their sum, what is solved
  const ModelConfig& dense = checkpoint.config();
  const int64_t D = dense.hidden_size, k = sliced.stream_size(0);
  const at::ScalarType stored = stored_dtype(checkpoint).value_or(at::kHalf);
  const auto size = [](at::ScalarType dtype) {
    return static_cast<int64_t>(c10::elementSize(dtype));
  };
  const bool gpu = pass.device.is_cuda();
  const int64_t held = size(pass.dtype.value_or(gpu ? stored : at::kFloat));
  const int64_t written = size(pass.written.value_or(stored));

  const int64_t layer = count_parameters(dense).blocks / dense.layers * held;
  const int64_t table = dense.vocabulary_size * D * held;                       // embedding or head
  const int64_t weights = std::max(table + std::max(table, layer), 3 * layer);  // old beside new
  const int64_t chunk = (gpu ? context : std::max(context, kHostChunkTokens)) *
                        (3 * dense.ffn_size + 8 * D) * std::max<int64_t>(held, size(at::kFloat));
  const bool refit = method == Method::kRefit;
  const int64_t hidden =
                    dense.ffn_size + (dense.parallel_block ? dense.heads * dense.head_size : 0),
                moments = hidden + 2 * D;  // [h | x̂ | z]
  const int64_t signal = tokens * D * held;
  const int64_t kept =
      std::min(tokens * hidden * held, kKeptHidden);  // a GPU keeps what it has room for
  const int64_t work = weights + (refit ? 2 : 1) * signal + kSiteMatrices * D * D * kDouble +
                       chunk + (refit ? kMomentMatrices * moments * moments * kDouble + kept : 0);
  const int64_t ahead = std::max(table, layer) / held * (held + size(stored)) + kPieces;

  PassCost cost;
  cost.device_bytes = gpu ? work : 0;
  cost.host_bytes = gpu ? ahead + kGpuLibraries : work + ahead + kLibraries;
  if (refit) {  // the signal in front of every run of layers, were gradients taken of all, and Γ
    const int64_t layers = detail::held_layers(dense, pass.device, pass.dtype.value_or(stored));
    const int64_t runs = (dense.layers + layers - 1) / layers;
    cost.host_bytes += signal * (runs > 1 ? runs : 0) + dense.sites() * D * D * kDouble;
  }
  cost.disk_bytes = count_parameters(sliced).total * written;
  cost.flop = expected_cost(dense, sliced, method, tokens, kHostChunkTokens, written).flop;
  if (refit) return cost;  // it keeps no journal
  cost.signal_bytes = tokens * k * held;
  cost.layer_bytes = (dense.parallel_block ? 1 : 2) * D * k * kDouble;
  const int64_t layers =
      pass.save_every > 0 ? std::min(pass.save_every, dense.layers) : dense.layers;
  cost.journal_bytes = 2 * cost.signal_bytes + (layers + 1) * cost.layer_bytes;
  return cost;
}

}  // namespace slice
