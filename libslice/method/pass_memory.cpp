#include "libslice/method/pass_memory.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "libslice/model/detail/placeholder.h"

namespace slice::detail {
namespace {

/// Of a weight that is not there: what it will take.
int64_t absent_bytes(const LinearRef& linear) {
  if (!linear.weight.defined() || !is_placeholder(linear.weight)) return 0;
  return linear.weight.numel() * static_cast<int64_t>(linear.weight.element_size());
}

}  // namespace

PassSizes pass_sizes(const ModelAdapter& model, Method method) {
  PassSizes sizes{.hidden_size = model.hidden_size,
                  .element_bytes = static_cast<int64_t>(model.head.weight.element_size()),
                  .table_bytes = absent_bytes(model.head),
                  .refit = method == Method::kRefit};
  int64_t before = 0;
  for (const Sublayer& s : model.sublayers) {
    int64_t bytes = 0, readers = 0, hidden = 0;
    for (const Branch& part : s.branches) {
      bytes += absent_bytes(part.writer);
      hidden += part.writer.weight.size(1);
      for (const LinearRef& reader : part.readers) {
        bytes += absent_bytes(reader);
        readers += reader.weight.size(0);
      }
    }
    const bool whole_layer = s.branches.size() > 1;
    sizes.layer_bytes = std::max(sizes.layer_bytes, bytes + (whole_layer ? 0 : before));
    sizes.widest = std::max(sizes.widest, readers + hidden);
    sizes.hidden = std::max(sizes.hidden, hidden);
    before = bytes;
  }
  return sizes;
}

int64_t pass_bytes(const PassSizes& sizes, int64_t chunk_tokens) {
  constexpr int64_t kDouble = 8, kFloat = 4;
  constexpr int64_t kSiteMatrices = 7;  // covariance and its sum, vectors, the solver's two, bases
  constexpr int64_t kMomentMatrices = 4;  // fitted, held out, their sum, what is solved
  const int64_t D = sizes.hidden_size, moments = sizes.hidden + 2 * D;  // [h | x̂ | z]
  const int64_t weights =
      std::max(sizes.table_bytes + std::max(sizes.table_bytes, sizes.layer_bytes),
               3 * sizes.layer_bytes);  // old beside new
  return weights + kSiteMatrices * D * D * kDouble +
         chunk_tokens * (sizes.widest + 8 * D) * std::max(sizes.element_bytes, kFloat) +
         (sizes.refit ? kMomentMatrices * moments * moments * kDouble : 0);
}

}  // namespace slice::detail
