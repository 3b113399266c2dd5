#include "libslice/method/working_memory.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "libslice/method/recover.h"
#include "libslice/model/detail/placeholder.h"

namespace slice::detail {
namespace {

/// What a weight will take that is not loaded now.
int64_t absent_bytes(const LinearRef& linear) {
  if (!linear.weight.defined() || !is_placeholder(linear.weight)) return 0;
  return linear.weight.numel() * static_cast<int64_t>(linear.weight.element_size());
}

}  // namespace

WorkingSizes working_sizes(const ModelAdapter& model, Method method, bool trains) {
  WorkingSizes sizes{.hidden_size = model.hidden_size,
                     .element_bytes = static_cast<int64_t>(model.head.weight.element_size()),
                     .table_bytes = absent_bytes(model.head),
                     .refit = method == Method::kRefit};
  int64_t before = 0;
  for (const Sublayer& s : model.sublayers) {
    int64_t bytes = 0, readers = 0, hidden = 0, weights = 0;
    for (const Branch& branch : s.branches) {
      const std::vector<LinearRef> writers = branch.writers();
      for (const LinearRef& writer : writers) {
        weights += writer.weight.numel();
        bytes += absent_bytes(writer);
      }
      int64_t rows = 0;
      for (const LinearRef& reader : branch.readers) {
        bytes += absent_bytes(reader);
        rows += reader.weight.size(0);
        weights += reader.weight.numel();
      }
      if (branch.mixes()) {  // its experts run one by one, and have no moments
        readers += rows / std::ssize(writers) + writers[0].weight.size(1);
      } else {
        readers += rows;
        hidden += writers[0].weight.size(1);
      }
    }
    const bool whole_layer = s.branches.size() > 1;
    sizes.layer_bytes = std::max(sizes.layer_bytes, bytes + (whole_layer ? 0 : before));
    sizes.widest = std::max(sizes.widest, readers + hidden);
    sizes.hidden = std::max(sizes.hidden, hidden);
    if (trains) sizes.trained = std::max(sizes.trained, weights);
    before = bytes;
  }
  return sizes;
}

int64_t activation_bytes(const WorkingSizes& sizes, int64_t chunk_tokens) {
  constexpr int64_t kFloat = 4;  // of which some are computed in any case
  return chunk_tokens * (sizes.widest + 8 * sizes.hidden_size) *
         std::max(sizes.element_bytes, kFloat);
}

int64_t moment_bytes(const WorkingSizes& sizes) {
  const int64_t matrices = 3 + sizes.choosing_texts;  // fitted, for choices, all, what is solved
  const int64_t width = sizes.hidden + 2 * sizes.hidden_size;  // [h | x̂ | z]
  return sizes.refit ? matrices * width * width * static_cast<int64_t>(sizeof(double)) : 0;
}

int64_t training_bytes(const WorkingSizes& sizes, int64_t window_tokens) {
  if (sizes.trained == 0) return 0;
  constexpr int64_t kFloat = 4, kWide = 7, kHeld = 4;  // copies in float32, in the weights' dtype
  constexpr int64_t kActivations = 4, kErrors = 10;  // of what readers and writers see; of signals
  const int64_t tokens = RecoverSettings{}.windows * window_tokens,
                wide = std::max(sizes.element_bytes, kFloat);
  return sizes.trained * (kWide * wide + kHeld * sizes.element_bytes) +
         tokens * (kActivations * sizes.widest + kErrors * sizes.hidden_size) * wide;
}

int64_t working_bytes(const WorkingSizes& sizes, int64_t chunk_tokens) {
  constexpr int64_t kSiteMatrices = 7;  // covariance and its sum, vectors, the solver's two, bases
  const int64_t D = sizes.hidden_size;
  const int64_t weights =
      std::max(sizes.table_bytes + std::max(sizes.table_bytes, sizes.layer_bytes),
               3 * sizes.layer_bytes);  // old beside new
  return weights + kSiteMatrices * D * D * static_cast<int64_t>(sizeof(double)) +
         activation_bytes(sizes, chunk_tokens) + moment_bytes(sizes);
}

}  // namespace slice::detail
