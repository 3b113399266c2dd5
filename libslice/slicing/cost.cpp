#include "libslice/slicing/cost.h"

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <cmath>

#include "libslice/checkpoint/stock.h"
#include "libslice/method/covariance.h"
#include "libslice/method/working_memory.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/detail/recovery.h"

namespace slice {

namespace {

constexpr int64_t kDouble = 8, kFloat = 4;
constexpr int64_t kLibraries = int64_t{400} << 20, kGpuLibraries = int64_t{1200} << 20;  // loaded
constexpr int64_t kHostHidden = int64_t{2} << 30;

int64_t size_of(at::ScalarType dtype) { return static_cast<int64_t>(c10::elementSize(dtype)); }

/// The model with every layer as wide as the widest: what peaks are those of.
ModelConfig widest_everywhere(const ModelConfig& dense) {
  const std::vector<int64_t> widths = dense.ffn_widths();
  const int64_t widest = *std::max_element(widths.begin(), widths.end());
  return narrowed_config(dense, std::vector<int64_t>(widths.size(), widest));
}

/// Weights of the sublayer that has most, were nothing removed.
int64_t largest_sublayer(const ModelConfig& dense) {
  const int64_t F = widest_everywhere(dense).ffn_size, D = dense.hidden_size,
                networks = std::max<int64_t>(dense.experts.count, 1),
                mlp = networks * (dense.gated_mlp ? 3 : 2) * F * D,
                attention = 2 * (dense.heads + dense.kv_heads) * dense.head_size * D;
  return dense.parallel_block ? mlp + attention : std::max(mlp, attention);
}

/// What the widest writers read whose moments are summed: experts have none.
int64_t refitted_width(const ModelConfig& dense) {
  return dense.routed() ? dense.heads * dense.head_size : widest_everywhere(dense).ffn_size;
}

/// Γ of every site.
int64_t gamma_bytes(const ModelConfig& dense) {
  return dense.sites() * dense.hidden_size * dense.hidden_size * kDouble;
}

/// Weights that a token is multiplied by.
int64_t active(const ModelConfig& config) {
  const ParameterCount count = count_parameters(config);
  return count.blocks - count.idle;
}

/// Two forward and one backward pass for half of the tokens.
double expected_gradient_flop(const ModelConfig& dense, Method method, int64_t tokens) {
  if (method != Method::kRefit) return 0;
  return 2.0 * static_cast<double>(tokens) * static_cast<double>(3 * active(dense));
}

double expected_flop(const ModelConfig& dense, const ModelConfig& sliced, Method method,
                     int64_t tokens, int64_t recover) {
  constexpr double kEigenFlop = 9.0;  // of a D×D symmetric eigensolve with vectors, in units of D³
  const auto D = static_cast<double>(dense.hidden_size), sites = static_cast<double>(dense.sites()),
             n = static_cast<double>(tokens);
  const int64_t before = active(dense), after = active(sliced);
  double flop = 2.0 * n * static_cast<double>(after) +
                2.0 * sites * (n * D * D + kEigenFlop * D * D * D);  // covariances, eigensolves
  if (method != Method::kRefit) return flop;
  // Moments of [h | x | z] in float64; the dense forward pass, another sliced one, and the
  // gradients; factorisations of the moments.
  double moments = 0;  // of a site in every layer
  for (const int64_t channels : dense.ffn_widths()) {
    const auto F = static_cast<double>(dense.routed() ? refitted_width(dense) : channels),
               width = F + 2 * D;
    moments += n * width * width + 20 * F * F * F;
  }
  moments *= sites / static_cast<double>(dense.layers);
  flop += 2.0 * n * static_cast<double>(before + after) + moments +
          expected_gradient_flop(dense, method, tokens);
  if (recover > 0)  // then the writers are solved for once more
    flop += 2.0 * n * static_cast<double>(detail::recovery_passes(recover) * after) + moments;
  return flop;
}

/// What a journal holds: signals, twice while they are saved again; the bases since, or Γ.
/// @param k  of the first site     @param token_bytes  of a coordinate of the signal of all tokens
void add_journal(LayerwiseCost& cost, const ModelConfig& dense, Method method, int64_t k,
                 int64_t save_every, int64_t token_bytes) {
  const int64_t D = dense.hidden_size, basis = D * k * kDouble;
  if (method == Method::kRefit) {  // the dense model's signal too; no files of layers
    cost.signal_bytes = token_bytes * (k + D);
    cost.gradient_bytes = gamma_bytes(dense);
    cost.journal_bytes = 2 * (cost.signal_bytes + basis) + cost.gradient_bytes;
    return;
  }
  cost.signal_bytes = token_bytes * k;
  cost.layer_bytes = (dense.parallel_block ? 1 : 2) * basis;
  const int64_t layers = save_every > 0 ? std::min(save_every, dense.layers) : dense.layers;
  cost.journal_bytes = 2 * cost.signal_bytes + (layers + 1) * cost.layer_bytes;
}

}  // namespace

ExpectedCost expected_cost(const ModelConfig& dense, const ModelConfig& sliced, Method method,
                           int64_t tokens, int64_t chunk_tokens, int64_t stored_bytes,
                           const Training& training) {
  const int64_t D = dense.hidden_size, F = widest_everywhere(dense).ffn_size;
  const bool refit = method == Method::kRefit, untied = dense.tied_head && !sliced.tied_head;
  const detail::WorkingSizes sizes{.hidden_size = D,
                                   .element_bytes = kFloat,
                                   .widest = 3 * F,
                                   .hidden = refitted_width(dense),
                                   .refit = refit,
                                   .trained = training.epochs > 0 ? largest_sublayer(dense) : 0};
  const int64_t signals = (refit ? 2 : 1) * tokens * D;
  ExpectedCost cost;
  cost.host_bytes =
      kFloat *
          (count_parameters(dense).total + (untied ? dense.vocabulary_size * D : 0) + signals) +
      detail::activation_bytes(sizes, chunk_tokens) + detail::moment_bytes(sizes) + kLibraries;
  if (refit)
    cost.host_bytes +=
        std::min(kFloat * tokens * refitted_width(dense), kHostHidden) + gamma_bytes(dense);
  cost.training_bytes = detail::training_bytes(sizes, training.window_tokens);
  cost.host_bytes += cost.training_bytes;
  cost.disk_bytes = count_parameters(written_config(sliced)).total * stored_bytes;
  cost.flop = expected_flop(dense, sliced, method, tokens, training.epochs);
  cost.gradient_flop = expected_gradient_flop(dense, method, tokens);
  return cost;
}

LayerwiseCost expected_layerwise_cost(const Checkpoint& checkpoint, const ModelConfig& sliced,
                                      Method method, int64_t tokens, int64_t context,
                                      const LayerwiseOptions& layerwise, FreeMemory free,
                                      int64_t recover) {
  constexpr int64_t kPieces = int64_t{64} << 20;  // conversions on the way to a file
  const ModelConfig& dense = checkpoint.config();
  const ModelConfig widest = widest_everywhere(dense);
  const at::ScalarType stored = stored_dtype(checkpoint).value_or(at::kHalf);
  const bool gpu = layerwise.device.is_cuda(), refit = method == Method::kRefit;
  const int64_t held = size_of(layerwise.dtype.value_or(gpu ? stored : at::kFloat));
  const int64_t heads = dense.parallel_block ? dense.heads * dense.head_size : 0;
  const detail::WorkingSizes sizes{
      .hidden_size = dense.hidden_size,
      .element_bytes = held,
      .layer_bytes = count_parameters(widest).blocks / dense.layers * held,
      .table_bytes = dense.vocabulary_size * dense.hidden_size * held,  // embedding or head
      .widest = 3 * widest.ffn_size,
      .hidden = refitted_width(dense) + heads,
      .refit = refit,
      .trained = recover > 0 ? largest_sublayer(dense) : 0};
  LayerwiseCost cost;
  cost.training_bytes = detail::training_bytes(sizes, context);
  const int64_t working =
      detail::working_bytes(sizes, gpu ? context : std::max(context, kHostChunkTokens)) +
      cost.training_bytes;
  int64_t& main = gpu ? cost.device_bytes : cost.host_bytes;
  main = working + (refit ? std::min(tokens * sizes.hidden * held, kHostHidden) : 0);
  cost.host_bytes +=  // read ahead, in both dtypes
      std::max(sizes.table_bytes, sizes.layer_bytes) / held * (held + size_of(stored)) + kPieces +
      (gpu ? kGpuLibraries : kLibraries);
  const int64_t signal = tokens * dense.hidden_size * held;
  for (int i = 0; i < (refit ? 2 : 1); ++i) {  // refit has the dense model's too
    const SignalPlace place = signal_place(signal, working, free);
    const bool on_device = place == SignalPlace::kDevice;
    (on_device                     ? main
     : place == SignalPlace::kHost ? cost.host_bytes
                                   : cost.scratch_bytes) += signal;
    (on_device ? free.device : free.host) -= place == SignalPlace::kDisk ? 0 : signal;
    cost.signal = std::max(cost.signal, place);
  }
  const ModelConfig form = written_config(sliced);
  cost.disk_bytes = count_parameters(form).total * size_of(layerwise.written.value_or(stored));
  if (sliced.sliced() && !form.sliced())  // its head, or its embedding, as it is changed
    cost.host_bytes += 3 * kDouble * form.vocabulary_size * form.hidden_size;
  cost.flop = expected_flop(dense, sliced, method, tokens, recover);
  if (refit) {  // the signal before every run of layers, were gradients taken of all windows
    const int64_t layers =
        detail::held_layers(dense, layerwise.device, layerwise.dtype.value_or(stored));
    const int64_t runs = (dense.layers + layers - 1) / layers;
    cost.host_bytes += signal * (runs > 1 ? runs : 0) + gamma_bytes(dense);
  }
  add_journal(cost, dense, method, sliced.stream_size(0), layerwise.save_every, tokens * held);
  return cost;
}

int64_t detail::fitting_chunk_tokens(const ModelAdapter& model) {
  constexpr int64_t kMost = 32768;  // more gain nothing
  const at::Device device = model.head.weight.device();
  if (!device.is_cuda()) return kHostChunkTokens;
  const WorkingSizes sizes = working_sizes(model, Method::kSliceGpt);
  const int64_t token_bytes =
      (2 * sizes.widest + 6 * sizes.hidden_size) * std::max(kFloat, sizes.element_bytes);
  return std::min(kMost, device_memory(device).free / 2 / token_bytes);
}

int64_t detail::hidden_signal_bytes(at::Device device) {
  return device.is_cuda() ? device_memory(device).free / 3 : kHostHidden;
}

int64_t detail::held_layers(const ModelConfig& dense, at::Device device, at::ScalarType dtype) {
  if (device.is_cpu())
    return static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(dense.layers))));
  const int64_t D = dense.hidden_size,
                sums = D * D * kDouble + 2 * kCovarianceBlock * D * size_of(dtype),  // of a site
      layer = count_parameters(widest_everywhere(dense)).blocks / dense.layers * size_of(dtype) +
              (dense.parallel_block ? 1 : 2) * sums,
                tables = 2 * dense.vocabulary_size * D * size_of(dtype);
  return std::clamp<int64_t>((device_memory(device).free - tables) / 2 / layer, 1, dense.layers);
}

}  // namespace slice
