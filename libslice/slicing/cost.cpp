#include "libslice/slicing/cost.h"

#include <c10/core/ScalarType.h>

#include <algorithm>

#include "libslice/method/pass_memory.h"
#include "libslice/slicing/detail/layer_reader.h"

namespace slice {

LayerwiseCost expected_layerwise_cost(const Checkpoint& checkpoint, const ModelConfig& sliced,
                                      Method method, int64_t tokens, int64_t context,
                                      const LayerwiseOptions& pass, FreeMemory free) {
  constexpr int64_t kDouble = 8, kPieces = int64_t{64} << 20;  // conversions on the way to a file
  constexpr int64_t kLibraries = int64_t{400} << 20, kGpuLibraries = int64_t{1200} << 20;
  constexpr int64_t kKeptHidden = int64_t{2} << 30;  // at most, detail/hidden_signal.h
  const ModelConfig& dense = checkpoint.config();
  const int64_t D = dense.hidden_size, k = sliced.stream_size(0);
  const at::ScalarType stored = stored_dtype(checkpoint).value_or(at::kHalf);
  const auto size = [](at::ScalarType dtype) {
    return static_cast<int64_t>(c10::elementSize(dtype));
  };
  const bool gpu = pass.device.is_cuda(), refit = method == Method::kRefit;
  const int64_t held = size(pass.dtype.value_or(gpu ? stored : at::kFloat));
  const int64_t written = size(pass.written.value_or(stored));

  const int64_t heads = dense.parallel_block ? dense.heads * dense.head_size : 0;
  const detail::PassSizes sizes{
      .hidden_size = D,
      .element_bytes = held,
      .layer_bytes = count_parameters(dense).blocks / dense.layers * held,
      .table_bytes = dense.vocabulary_size * D * held,  // embedding or head
      .widest = 3 * dense.ffn_size,
      .hidden = dense.ffn_size + heads,
      .refit = refit};
  const int64_t beside =
      detail::pass_bytes(sizes, gpu ? context : std::max(context, kHostChunkTokens));
  // A GPU keeps what it has room for.
  const int64_t kept = refit ? std::min(tokens * sizes.hidden * held, kKeptHidden) : 0;
  const int64_t ahead =
      std::max(sizes.table_bytes, sizes.layer_bytes) / held * (held + size(stored)) + kPieces;

  LayerwiseCost cost;
  int64_t& work = gpu ? cost.device_bytes : cost.host_bytes;
  work = beside + kept;
  cost.host_bytes += ahead + (gpu ? kGpuLibraries : kLibraries);
  const int64_t signal = tokens * D * held;
  for (int i = 0; i < (refit ? 2 : 1); ++i) {  // refit has the dense model's too
    const SignalPlace place = signal_place(signal, beside, free);
    const bool beside_it = place == SignalPlace::kDevice;
    (beside_it                     ? work
     : place == SignalPlace::kHost ? cost.host_bytes
                                   : cost.scratch_bytes) += signal;
    (beside_it ? free.device : free.host) -= place == SignalPlace::kDisk ? 0 : signal;
    cost.stream = std::max(cost.stream, place);
  }
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
